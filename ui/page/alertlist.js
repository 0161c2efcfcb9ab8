// The alert chip and the list behind it.

import { useSignal } from "../third_party/signals.js";
import { useEffect, useRef } from "../third_party/preact-hooks.js";
import { clip, tellAttempt, tellLabels, tellMatchers, tellReach, tellSilence, verdict } from "./alerts.js";
import { formatAge, formatTime } from "./format.js";
import { html } from "./html.js";

/** @import {AlertRow, AlertsState, Attempt, ManagerAlert, Silence} from "./types.js" */
/** @import {Alerting} from "./alerting.js" */
/** @import {Signal} from "../third_party/signals.js" */
/** @import {Store} from "./store.js" */

/** Most alerts of one name that are listed, and of all names. */
const mostAlerts = 20;
const mostRows = 200;

/** Most attempts to notify that are listed. */
const mostAttempts = 5;

/** @type {[string, number][]} how long a silence may last, in seconds */
const lengths = [["1 hour", 3600], ["8 hours", 8 * 3600], ["1 day", 86_400], ["7 days", 7 * 86_400]];

/** @param {{store: Store}} props */
export function AlertChip({ store }) {
  const { alerting } = store;
  const { state, text } = verdict(alerting.alerts.value);
  const list = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => {
    // The links in messages are those of Alertmanager's own page.
    if (/^#\/(alerts|silences)/.test(location.hash)) list.current?.showPopover();
  }, []);
  // It is emptied only when it has closed: the browser takes the focus back to the chip from what is still there.
  return html`
    <button type="button" class="chip" data-alerts=${state} popovertarget="alert-list" aria-label=${`${text}: show all alerts`}>
      <span class="mark" aria-hidden="true"></span>${text}
    </button>
    <div
      id="alert-list"
      ref=${list}
      class="popover"
      popover
      tabindex="-1"
      role="region"
      aria-label="Alerts"
      onBeforeToggle=${(/** @type {ToggleEvent} */ event) => event.newState === "open" && alerting.setOpen(true)}
      onToggle=${(/** @type {ToggleEvent} */ event) => event.newState === "closed" && alerting.setOpen(false)}
    >
      <h2>Alerts</h2>
      ${alerting.open.value && html`<${AlertList} alerting=${alerting} now=${store.now} />`}
    </div>
  `;
}

/** @param {{alerting: Alerting, now: Signal<number>}} props */
function AlertList({ alerting, now }) {
  const alerts = alerting.alerts.value;
  const active = alerts.rows.filter((row) => row.state !== "inactive");
  const resting = alerts.rows.filter((row) => row.state === "inactive");
  const { shown, hidden } = cut(active);
  const unfolded = useSignal(false);
  return html`
    <${Warnings} alerts=${alerts} />
    ${alerts.state === "ready" && active.length === 0 && html`<p class="note">${alerts.rows.length === 0 ? "No alert rules are loaded." : "Nothing fires."}</p>`}
    <ul class="alerts">${shown.map((row) => html`<${AlertItem} key=${row.key} row=${row} alerting=${alerting} now=${now} />`)}</ul>
    ${hidden > 0 && html`<p class="note" data-alerts-hidden>And ${hidden} more.</p>`}
    ${resting.length > 0 &&
    html`
      <details class="resting" onToggle=${(/** @type {Event} */ event) => (unfolded.value = /** @type {HTMLDetailsElement} */ (event.currentTarget).open)}>
        <summary>${resting.length} ${resting.length === 1 ? "rule" : "rules"} at rest</summary>
        ${unfolded.value && html`<ul class="alerts">${resting.map((row) => html`<${AlertItem} key=${row.key} row=${row} alerting=${alerting} now=${now} />`)}</ul>`}
      </details>
    `}
    <${Silences} silences=${alerts.manager?.silences ?? []} alerts=${alerts.manager?.alerts ?? []} alerting=${alerting} />
    <${Told} told=${alerts.told} />
    ${alerts.state === "ready" && alerts.heartbeat === "fires" && html`<p class="note" data-heartbeat="fires">Heartbeat: the alert Watchdog fires, as it always should.</p>`}
  `;
}

/** @param {{alerts: AlertsState}} props */
function Warnings({ alerts }) {
  return html`
    ${alerts.error !== null && html`<p class="warn" data-alerts-error>The rules could not be read: ${alerts.error}.${alerts.rows.length > 0 && " Below is what was last known."}</p>`}
    ${alerts.told?.failing.map(
      (attempt) => html`
        <p class="warn" data-failing=${attempt.receiver}>
          <strong>${attempt.receiver}</strong> could not be notified at ${timeOf(attempt.time)}: ${errorOf(attempt)}.${attempt.retry && " It is tried again."}
        </p>
      `,
    )}
    ${alerts.heartbeat === "missing" &&
    html`<p class="warn" data-heartbeat="missing">No heartbeat: the alert Watchdog should always fire and does not, so the rules are not evaluated.</p>`}
    ${alerts.managerError !== null && html`<p class="note" data-manager-error>What is silenced or muted could not be read: ${alerts.managerError}.</p>`}
    ${alerts.toldError !== null && html`<p class="note" data-told-error>Who was notified could not be read: ${alerts.toldError}.</p>`}
  `;
}

/** @param {{row: AlertRow, alerting: Alerting, now: Signal<number>}} props */
function AlertItem({ row, alerting, now }) {
  const labels = tellLabels(row.labels);
  return html`
    <li data-alert=${row.name} data-state=${row.state}>
      <span class="mark" aria-hidden="true"></span>
      <div>
        <div class="alert-head">
          <strong>${row.name}</strong>${row.severity !== "" && html`<span class="tag">${row.severity}</span>`}
          ${row.runbook !== "" && html`<a href=${row.runbook} target="_blank" rel="noopener noreferrer">Runbook<span class="visually-hidden"> of ${row.name}</span></a>`}
        </div>
        ${row.quiet !== "" && html`<p data-quiet>${row.quiet}</p>`}
        ${row.text !== "" && html`<p>${row.text}</p>`}
        ${labels !== "" && html`<code>${labels}</code>`}
        <code>${row.detail}</code>
        ${(row.state === "firing" || row.state === "muted") && !row.dropped && html`<${SilenceForm} row=${row} alerting=${alerting} />`}
      </div>
      ${row.state !== "inactive" &&
      html`
        <dl>
          <div><dt>State</dt><dd>${row.state}</dd></div>
          ${row.value !== null && html`<div><dt>Value</dt><dd>${formatNumber(row.value)}</dd></div>`}
          ${row.since !== null && html`<div><dt>Since</dt><dd><${Since} since=${row.since} now=${now} /></dd></div>`}
        </dl>
      `}
    </li>
  `;
}

/**
 * A button that becomes a form.
 * @param {{row: AlertRow, alerting: Alerting}} props
 */
function SilenceForm({ row, alerting }) {
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
function Silences({ silences, alerts, alerting }) {
  if (silences.length === 0) return null;
  return html`
    <h3>Silences</h3>
    <ul class="lines">
      ${silences.map((silence) => html`<${SilenceItem} key=${silence.id} silence=${silence} alerts=${alerts} alerting=${alerting} />`)}
    </ul>
  `;
}

/** @param {{silence: Silence, alerts: ManagerAlert[], alerting: Alerting}} props */
function SilenceItem({ silence, alerts, alerting }) {
  const busy = useSignal(false);
  const error = useSignal("");
  const matchers = tellMatchers(silence);
  const reach = tellReach(silence, alerts);
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
        <span class=${reach.all ? "warn" : "muted"} data-silence-reach>${reach.text}</span>
        ${error.value !== "" && html`<p class="warn" role="alert" data-silence-error>It goes on: ${error.value}.</p>`}
      </div>
      <button type="button" class="chip small" aria-disabled=${busy.value} onClick=${end}>
        End it<span class="visually-hidden">, the silence of ${matchers}</span>
      </button>
    </li>
  `;
}

/**
 * Who was told of what.
 * @param {{told: AlertsState["told"]}} props
 */
function Told({ told }) {
  if (told === null) return null;
  return html`
    ${!told.notifies && html`<p class="note" data-notifies="false">Nobody outside is notified. The <code>alertmanager</code> section of hancock.yml changes that.</p>`}
    ${told.attempts.length > 0 &&
    html`
      <h3>Last notifications</h3>
      <ul class="lines">
        ${told.attempts.slice(0, mostAttempts).map(
          (attempt, i) => html`
            <li key=${i} data-attempt=${attempt.receiver} data-state=${attempt.outcome === "ok" ? "ok" : "error"}>
              <span class="mark" aria-hidden="true"></span>
              <div>
                <span class="muted">${timeOf(attempt.time)}</span> <strong>${attempt.receiver}</strong>: ${tellAttempt(attempt)}
                ${attempt.outcome !== "ok" && html`<span class="muted"> failed: ${errorOf(attempt)}</span>`}
              </div>
            </li>
          `,
        )}
      </ul>
    `}
  `;
}

/**
 * The first rows of each name, and not too many of all, and how many that leaves out.
 * @param {AlertRow[]} rows
 */
function cut(rows) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  let kept = 0;
  const shown = rows.filter((row) => {
    const count = (counts.get(row.name) ?? 0) + 1;
    counts.set(row.name, count);
    return count <= mostAlerts && kept++ < mostRows;
  });
  return { shown, hidden: rows.length - shown.length };
}

/** @param {Attempt} attempt */
function errorOf(attempt) {
  return clip((attempt.error || (attempt.status_code ? `HTTP ${attempt.status_code}` : "no reason given")).trim()).replace(/\.$/, "");
}

/** @param {string} time */
function timeOf(time) {
  const at = Date.parse(time);
  return Number.isNaN(at) ? "some time" : formatTime(at / 1000);
}

/** @param {number} value of an expression whose unit nobody states */
function formatNumber(value) {
  return Number.isFinite(value) ? new Intl.NumberFormat("en", { maximumSignificantDigits: 4 }).format(value) : String(value);
}

/**
 * The one part of a row that changes each second.
 * @param {{since: number, now: Signal<number>}} props
 */
function Since({ since, now }) {
  return `${formatTime(since / 1000)} (${formatAge((now.value - since) / 1000)})`;
}
