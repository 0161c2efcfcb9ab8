// The alert chip and the list behind it.

import { useSignal } from "../third_party/signals.js";
import { useEffect, useRef } from "../third_party/preact-hooks.js";
import { clip, tellAttempt, tellLabels, verdict } from "./alerts.js";
import { formatAge, formatTime } from "./format.js";
import { html } from "./html.js";
import { parseLink } from "./link.js";
import { formatMatcher, formatMatchers, parseMatchers } from "./matchers.js";
import { LinkedSilence, NewSilence, SilenceForm, Silences } from "./silences.js";

/** @import {AlertRow, AlertsState, Attempt, Link} from "./types.js" */
/** @import {Alerting} from "./alerting.js" */
/** @import {Signal} from "../third_party/signals.js" */
/** @import {Store} from "./store.js" */

/** Most alerts of one name that are listed, and of all names. */
const mostAlerts = 20;
const mostRows = 200;

/** Most attempts to notify that are listed. */
const mostAttempts = 5;

/** @param {{store: Store}} props */
export function AlertChip({ store }) {
  const { alerting } = store;
  const { state, text, detail } = verdict(alerting.alerts.value);
  const said = detail === "" ? text : `${text}, ${detail}`;
  const list = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => {
    const follow = () => {
      const link = parseLink(location.hash);
      if (link === null) return;
      alerting.link.value = link;
      if (!list.current?.matches(":popover-open")) list.current?.showPopover();
    };
    follow();
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);
  useEffect(() => {
    const known = state === "firing" ? text : state === "unknown" ? "Alerts unknown" : "";
    document.title = known === "" ? store.board.title : `${known} · ${store.board.title}`;
  }, [state, text]);
  // It is emptied only when it has closed: the browser takes the focus back to the chip from what is still there.
  return html`
    <button type="button" class="chip" data-alerts=${state} popovertarget="alert-list" aria-label=${`${said}: show all alerts`}>
      <span class="mark" aria-hidden="true"></span>${text}${detail !== "" && html`<span class="chip-detail">${detail}</span>`}
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
  const link = alerting.link.value;
  const { rows, note, error } = useFiltered(alerting);
  const active = rows.filter((row) => row.state !== "inactive" && row.state !== "unknown");
  const resting = rows.filter((row) => row.state === "inactive" || row.state === "unknown");
  const { shown, hidden } = cut(active);
  const unfolded = useSignal(false);
  return html`
    <${Warnings} alerts=${alerts} />
    ${link?.kind === "new" && html`<${NewSilence} key=${link.filter} link=${link} alerting=${alerting} />`}
    ${link?.kind === "silence" && html`<${LinkedSilence} key=${link.id} id=${link.id} alerting=${alerting} />`}
    ${note !== "" &&
    html`
      <p class="note filter" data-filter>
        <span>Filtered by <code>${note}</code></span>
        <button type="button" class="chip small" data-filter-clear onClick=${() => (alerting.link.value = null)}>Show all</button>
      </p>
    `}
    ${error !== "" && html`<p class="warn" role="alert" data-filter-error>The filter of the link was not applied: ${error}.</p>`}
    ${alerts.state === "ready" && active.length === 0 && html`<p class="note" data-alerts-empty>${nothing(alerts, note)}</p>`}
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

/**
 * @param {AlertsState} alerts
 * @param {string} note
 */
function nothing(alerts, note) {
  if (note !== "") return "No active alert matches the filter.";
  if (alerts.error !== null || alerts.managerError !== null) return "No active alert is known.";
  return alerts.rows.length === 0 ? "No alert rules are loaded." : "Nothing fires.";
}

/**
 * The rows that the link in the address asks for. Alertmanager itself matches them: its regular expressions are not
 * those of the browser. Until it has answered nothing is shown.
 * @param {Alerting} alerting
 * @returns {{rows: AlertRow[], note: string, error: string}} note names the filter, when there is one
 */
function useFiltered(alerting) {
  const { rows, manager } = alerting.alerts.value;
  const link = alerting.link.value;
  const { matchers, error: unreadable } = readFilter(link);
  const filter = matchers.map(formatMatcher);
  const receiver = receiverOf(link, rows);
  const found = useSignal(/** @type {{of: string, fingerprints: Set<string>, error: string}} */ ({ of: "", fingerprints: new Set(), error: "" }));
  const question = filter.length > 0 || receiver !== "" ? JSON.stringify([filter, receiver]) : "";
  useEffect(() => {
    if (question === "") return undefined;
    const abort = new AbortController();
    const settle = (/** @type {Set<string>} */ fingerprints, error = "") => {
      if (!abort.signal.aborted) found.value = { of: question, fingerprints, error };
    };
    alerting.matching(filter, receiver, abort.signal).then(settle, (cause) => settle(new Set(), cause.message));
    return () => abort.abort();
  }, [question, manager]);
  if (link?.kind !== "alerts" || unreadable !== "") return { rows, note: "", error: unreadable };
  if (question === "") return { rows, note: "", error: "" };
  const { of, fingerprints, error } = found.value;
  if (of === question && error !== "") return { rows, note: "", error };
  const parts = [...(filter.length > 0 ? [formatMatchers(matchers)] : []), ...(receiver !== "" ? [`receiver ${receiver.replace(/\\(?=\W)/g, "")}`] : [])];
  return { rows: rows.filter((row) => of === question && fingerprints.has(row.fingerprint)), note: clip(parts.join(", ")), error: "" };
}

/**
 * The receiver that a link names. Alertmanager's own links have a regular expression; a plain name is taken, too.
 * @param {Link | null} link
 * @param {AlertRow[]} rows
 */
function receiverOf(link, rows) {
  if (link?.kind !== "alerts") return "";
  const name = link.receiver;
  return rows.some((row) => row.receivers.includes(name)) ? name.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&") : name;
}

/** @param {Link | null} link */
function readFilter(link) {
  try {
    return { matchers: link?.kind === "alerts" ? parseMatchers(link.filter) : [], error: "" };
  } catch (cause) {
    return { matchers: [], error: cause instanceof Error ? cause.message : String(cause) };
  }
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
