// Silences: the form for one alert, the form for any matchers, and what is silenced now.

import { useSignal } from "../third_party/signals.js";
import { useEffect, useRef } from "../third_party/preact-hooks.js";
import { tellMatchers, tellReach, tellSilence } from "./alerts.js";
import { toApiError } from "./api.js";
import { html } from "./html.js";
import { formatMatcher, parseMatchers } from "./matchers.js";

/** @import {AlertRow, Link, ManagerAlert, Matcher, Silence} from "./types.js" */
/** @import {Alerting} from "./alerting.js" */

/** @type {[string, number][]} how long a silence may last, in seconds */
const lengths = [["1 hour", 3600], ["8 hours", 8 * 3600], ["1 day", 86_400], ["7 days", 7 * 86_400]];

/**
 * A button that becomes a form.
 * @param {{row: AlertRow, alerting: Alerting}} props
 */
export function SilenceForm({ row, alerting }) {
  const editing = useSignal(false);
  const busy = useSignal(false);
  const error = useSignal("");
  const first = useRef(/** @type {HTMLSelectElement | null} */ (null));
  const opener = useRef(/** @type {HTMLButtonElement | null} */ (null));
  const touched = useRef(false);
  useEffect(() => {
    if (editing.value) first.current?.focus();
    else if (touched.current) opener.current?.focus();
    touched.current = editing.value;
  }, [editing.value]);

  if (!editing.value) {
    return html`
      <button type="button" class="chip small" ref=${opener} data-silence onClick=${() => (editing.value = true)}>
        Silence…<span class="visually-hidden"> ${row.name}</span>
      </button>
    `;
  }
  const submit = async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.currentTarget);
    const list = form.closest("[popover]");
    const data = new FormData(form);
    if (busy.peek()) return;
    busy.value = true;
    error.value = await alerting.silence(row, Number(data.get("seconds")), String(data.get("comment")).trim());
    busy.value = false;
    if (error.value !== "") return;
    // The button that was pressed is gone.
    if (list instanceof HTMLElement) list.focus();
    touched.current = false;
    editing.value = false;
  };
  const onKey = (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Escape") return;
    event.preventDefault(); // or it would close the whole list
    editing.value = false;
  };
  return html`
    <form class="silence" aria-label=${`Silence ${row.name}`} onSubmit=${submit} onKeyDown=${onKey}>
      <label>for <select name="seconds" ref=${first}>${lengths.map(([text, seconds]) => html`<option key=${text} value=${seconds}>${text}</option>`)}</select></label>
      <input name="comment" maxlength="1000" autocomplete="off" placeholder="Comment (optional)" aria-label="Comment, optional" />
      <button class="chip small" aria-disabled=${busy.value}>Silence</button>
      <button type="button" class="chip small" onClick=${() => (editing.value = false)}>Cancel</button>
      ${error.value !== "" && html`<p class="warn" role="alert" data-silence-error>Not silenced: ${error.value}.</p>`}
    </form>
  `;
}

/** @param {{silences: Silence[], alerts: ManagerAlert[], alerting: Alerting}} props */
export function Silences({ silences, alerts, alerting }) {
  const create = () => (alerting.link.value = { kind: "new", filter: "", receiver: "", comment: "", id: "" });
  return html`
    <h3>Silences</h3>
    ${silences.length > 0 && html`<ul class="lines">${silences.map((silence) => html`<${SilenceItem} key=${silence.id} silence=${silence} alerts=${alerts} alerting=${alerting} />`)}</ul>`}
    ${alerting.link.value?.kind !== "new" && html`<button type="button" class="chip small" data-silence-create onClick=${create}>New silence…</button>`}
  `;
}

/** @param {{silence: Silence, alerts: ManagerAlert[], alerting: Alerting}} props */
function SilenceItem({ silence, alerts, alerting }) {
  const busy = useSignal(false);
  const error = useSignal("");
  const matchers = tellMatchers(silence);
  const reach = tellReach(silence, alerts);
  const ended = silence.status.state === "expired";
  const end = async (/** @type {MouseEvent} */ event) => {
    const list = /** @type {HTMLElement} */ (event.currentTarget).closest("[popover]");
    if (busy.peek()) return;
    busy.value = true;
    error.value = await alerting.endSilence(silence.id);
    busy.value = false;
    if (error.value === "" && list instanceof HTMLElement) list.focus();
  };
  return html`
    <li data-silenced=${silence.id}>
      <div>
        <code>${matchers}</code>
        <span class="muted">${tellSilence(silence)}</span>
        ${
          ended
            ? html`<span class="tag">expired</span>`
            : html`<span class=${reach.all ? "warn" : "muted"} data-silence-reach>${reach.text}</span>`
        }
        ${error.value !== "" && html`<p class="warn" role="alert" data-silence-error>It goes on: ${error.value}.</p>`}
      </div>
      ${!ended &&
      html`
        <button type="button" class="chip small" aria-disabled=${busy.value} onClick=${end}>
          End it<span class="visually-hidden">, the silence of ${matchers}</span>
        </button>
      `}
    </li>
  `;
}

/**
 * A silence for any matchers, those of a link to begin with.
 * @param {{link: Link, alerting: Alerting}} props
 */
export function NewSilence({ link, alerting }) {
  const text = useSignal(link.filter);
  const busy = useSignal(false);
  const refused = useSignal("");
  const field = useRef(/** @type {HTMLTextAreaElement | null} */ (null));
  useEffect(() => field.current?.focus(), []);
  const { matchers, error } = read(text.value);
  const close = () => (alerting.link.value = null);
  const submit = async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.currentTarget);
    const data = new FormData(form);
    if (busy.peek() || matchers.length === 0) return;
    busy.value = true;
    refused.value = await alerting.silenceMatching(matchers, Number(data.get("seconds")), String(data.get("comment")).trim());
    busy.value = false;
    if (refused.value !== "") return;
    const list = form.closest("[popover]");
    if (list instanceof HTMLElement) list.focus();
    close();
  };
  return html`
    <form class="silence new" aria-label="New silence" data-silence-new onSubmit=${submit}>
      <h3>New silence</h3>
      <label class="whole">
        Matchers
        <textarea
          name="matchers"
          rows="2"
          spellcheck=${false}
          ref=${field}
          value=${text.value}
          aria-invalid=${error !== ""}
          aria-describedby="silence-matchers"
          onInput=${(/** @type {Event} */ event) => (text.value = /** @type {HTMLTextAreaElement} */ (event.currentTarget).value)}
        ></textarea>
      </label>
      <div id="silence-matchers" class="whole">
        ${error !== "" ? html`<p class="warn" data-matchers-error>${error}</p>` : html`<${Matched} matchers=${matchers} alerting=${alerting} />`}
      </div>
      <label>for <select name="seconds">${lengths.map(([name, seconds]) => html`<option key=${name} value=${seconds}>${name}</option>`)}</select></label>
      <input name="comment" maxlength="1000" autocomplete="off" placeholder="Comment (optional)" aria-label="Comment, optional" value=${link.comment} />
      <button class="chip small" aria-disabled=${busy.value || matchers.length === 0}>Silence</button>
      <button type="button" class="chip small" onClick=${close}>Cancel</button>
      ${refused.value !== "" && html`<p class="warn" role="alert" data-silence-error>Not silenced: ${refused.value}.</p>`}
    </form>
  `;
}

/**
 * The matchers one by one, and how many alerts they match now.
 * @param {{matchers: Matcher[], alerting: Alerting}} props
 */
function Matched({ matchers, alerting }) {
  const result = useSignal("");
  const filter = matchers.map(formatMatcher);
  useEffect(() => {
    result.value = "";
    if (filter.length === 0) return undefined;
    const abort = new AbortController();
    const say = (/** @type {string} */ words) => {
      if (!abort.signal.aborted) result.value = words;
    };
    const timer = setTimeout(() => {
      alerting.matching(filter, "", abort.signal).then(
        ({ size }) => say(size === 0 ? "No active alert matches now." : size === 1 ? "1 active alert matches now." : `${size} active alerts match now.`),
        (cause) => say(`The matching alerts are unknown: ${toApiError(cause).message}.`),
      );
    }, 200);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [filter.join(","), alerting.alerts.value.manager]);
  if (matchers.length === 0) return html`<p class="note">Write at least one matcher, for example <code>alertname="HancockSlowModel"</code>.</p>`;
  return html`
    <ul class="matchers">${filter.map((matcher, i) => html`<li key=${i}><code data-matcher>${matcher}</code></li>`)}</ul>
    <p class="note" role="status" data-matched>${result.value || "\u00a0"}</p>
  `;
}

/** @param {string} text */
function read(text) {
  try {
    return { matchers: parseMatchers(text), error: "" };
  } catch (cause) {
    return { matchers: [], error: cause instanceof Error ? cause.message : String(cause) };
  }
}

/**
 * The silence that a link names, also when it has expired.
 * @param {{id: string, alerting: Alerting}} props
 */
export function LinkedSilence({ id, alerting }) {
  const silence = useSignal(/** @type {Silence | null} */ (null));
  const error = useSignal("");
  useEffect(() => {
    const abort = new AbortController();
    alerting.silenceOf(id, abort.signal).then(
      (found) => {
        silence.value = found;
        error.value = "";
      },
      (cause) => {
        if (!abort.signal.aborted) error.value = toApiError(cause).message;
      },
    );
    return () => abort.abort();
  }, [id, alerting.alerts.value.manager]);
  return html`
    <h3>Silence of the link</h3>
    ${error.value !== "" && html`<p class="warn" role="alert" data-silence-missing>The silence ${id} was not found: ${error.value}.</p>`}
    ${silence.value !== null && html`<ul class="lines" data-silence-linked=${silence.value.status.state}><${SilenceItem} silence=${silence.value} alerts=${alerting.alerts.value.manager?.alerts ?? []} alerting=${alerting} /></ul>`}
  `;
}
