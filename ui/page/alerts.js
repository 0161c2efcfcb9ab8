// The alert chip and the list behind it.

import { html } from "./html.js";
import { formatAge, formatTime, parseValue } from "./format.js";

/** @import {AlertRow, AlertsState, Rule} from "./types.js" */
/** @import {Store} from "./store.js" */

/** Most alerts of one rule that are listed. */
const mostAlerts = 20;

/** @type {Record<AlertRow["state"], number>} */
const order = { firing: 0, pending: 1, error: 2, inactive: 3 };

/**
 * One row for a rule at rest, or one for each of its alerts; what is worst comes first.
 * @param {Rule[]} rules
 * @returns {AlertRow[]}
 */
export function toAlerts(rules) {
  return rules
    .filter((rule) => rule.type === "alerting")
    .flatMap((rule) => {
      const alerts = (rule.alerts ?? []).slice(0, mostAlerts);
      return alerts.length === 0 ? [restingRow(rule)] : alerts.map((_, i) => activeRow(rule, i));
    })
    .sort((a, b) => order[a.state] - order[b.state]);
}

/**
 * @param {Rule} rule
 * @returns {AlertRow}
 */
function restingRow(rule) {
  const failed = rule.health === "err";
  return {
    key: rule.name,
    name: rule.name,
    severity: rule.labels?.severity ?? "",
    state: failed ? "error" : "inactive",
    value: null,
    since: null,
    text: failed ? `The rule cannot be evaluated: ${rule.lastError ?? "no reason given"}` : textOf(rule.annotations, true),
    detail: rule.query,
  };
}

/**
 * @param {Rule} rule
 * @param {number} index
 * @returns {AlertRow}
 */
function activeRow(rule, index) {
  const alert = rule.alerts?.[index];
  const since = Date.parse(alert?.activeAt ?? "");
  return {
    key: `${rule.name}/${index}`,
    name: rule.name,
    severity: alert?.labels.severity ?? rule.labels?.severity ?? "",
    state: alert?.state === "firing" ? "firing" : "pending",
    value: alert ? parseValue(alert.value) : null,
    since: Number.isNaN(since) ? null : since,
    text: textOf(alert?.annotations, false),
    detail: rule.query,
  };
}

/**
 * @param {Record<string, string> | undefined} annotations
 * @param {boolean} template the text is not filled in
 */
function textOf(annotations, template) {
  const summary = annotations?.summary ?? "";
  const description = annotations?.description ?? "";
  if (!template) return description || summary;
  return [summary, description].find((text) => text !== "" && !text.includes("{{")) ?? "";
}

/** @param {AlertsState} alerts */
function verdict(alerts) {
  const count = (/** @type {AlertRow["state"]} */ state) => alerts.rows.filter((row) => row.state === state).length;
  if (alerts.state === "loading") return { state: "loading", text: "Alerts" };
  if (alerts.state === "error") return { state: "unknown", text: "Alerts unknown" };
  if (count("firing") > 0) return { state: "firing", text: `${count("firing")} firing` };
  if (count("pending") > 0) return { state: "pending", text: `${count("pending")} pending` };
  if (count("error") > 0) return { state: "error", text: "Rules fail" };
  return alerts.rows.length === 0 ? { state: "none", text: "No alert rules" } : { state: "inactive", text: "No alerts" };
}

/** @param {{store: Store}} props */
export function AlertChip({ store }) {
  const { state, text } = verdict(store.alerts.value);
  return html`
    <button type="button" class="chip" data-alerts=${state} popovertarget="alert-list" aria-label=${`${text}: show all alerts`}>
      <span class="mark" aria-hidden="true"></span>${text}
    </button>
    <div id="alert-list" class="popover" popover role="region" aria-label="Alerts">
      <h2>Alerts</h2>
      <${AlertList} alerts=${store.alerts.value} now=${store.now.value} />
    </div>
  `;
}

/** @param {{alerts: AlertsState, now: number}} props */
function AlertList({ alerts, now }) {
  return html`
    ${alerts.error !== null && html`<p class="note" data-alerts-error>The rules could not be read: ${alerts.error}.</p>`}
    ${alerts.state === "ready" && alerts.rows.length === 0 && html`<p class="note">No alert rules are loaded.</p>`}
    <ul class="alerts">
      ${alerts.rows.map(
        (row) => html`
          <li key=${row.key} data-alert=${row.name} data-state=${row.state}>
            <span class="mark" aria-hidden="true"></span>
            <div>
              <div class="alert-head"><strong>${row.name}</strong>${row.severity !== "" && html`<span class="tag">${row.severity}</span>`}</div>
              ${row.text !== "" && html`<p>${row.text}</p>`}
              <code>${row.detail}</code>
            </div>
            <dl>
              <div><dt>State</dt><dd>${row.state}</dd></div>
              <div><dt>Value</dt><dd>${formatNumber(row.value)}</dd></div>
              <div><dt>Since</dt><dd>${sinceText(row.since, now)}</dd></div>
            </dl>
          </li>
        `,
      )}
    </ul>
  `;
}

/** @param {number | null} value of an expression whose unit nobody states */
function formatNumber(value) {
  if (value === null) return "–";
  return Number.isFinite(value) ? new Intl.NumberFormat("en", { maximumSignificantDigits: 4 }).format(value) : String(value);
}

/**
 * @param {number | null} since
 * @param {number} now
 */
function sinceText(since, now) {
  return since === null ? "–" : `${formatTime(since / 1000)} (${formatAge((now - since) / 1000)})`;
}
