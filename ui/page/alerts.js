// What the list of alerts shows, made from the rules, from what Alertmanager says about their alerts, and
// from the delivery ledger.

import { formatTime, parseValue } from "./format.js";

/** @import {AlertRow, AlertsState, Attempt, Labels, ManagerAlert, Rule, Silence} from "./types.js" */

/** @typedef {NonNullable<AlertsState["manager"]>} Manager */

/** @type {Record<AlertRow["state"], number>} */
const order = { firing: 0, pending: 1, error: 2, inhibited: 3, muted: 4, silenced: 5, unknown: 6, inactive: 7 };

/** Severities that the header names; alerts with any other or none are counted as "other". */
const severities = ["critical", "warning", "info"];

/** Longest text that is shown in full: a label may hold a megabyte. */
const mostText = 400;

/** Longest name. */
const mostName = 100;

/**
 * The heartbeat fires for as long as all is well: it is no alert that anybody has to see.
 * @param {Labels | undefined} labels
 * @param {string | undefined} name
 */
function isHeartbeat(labels, name = labels?.alertname) {
  return name === "Watchdog" && labels?.severity === "none";
}

/**
 * @param {Rule[]} rules
 * @returns {AlertsState["heartbeat"]}
 */
export function heartbeatOf(rules) {
  const rule = rules.find((r) => isHeartbeat(r.labels, r.name));
  // Before its first evaluation nothing can be said.
  if (!rule || rule.health === "unknown") return "none";
  return rule.state === "firing" ? "fires" : "missing";
}

/** @param {Rule[]} rules */
export function fires(rules) {
  return rules.some((rule) => rule.state === "firing" && !isHeartbeat(rule.labels, rule.name));
}

/**
 * One row for a rule at rest, or one for each of its alerts; what is worst comes first.
 * @param {Rule[]} rules
 * @param {Manager | null} [manager]
 * @returns {AlertRow[]}
 */
export function toAlerts(rules, manager = null) {
  const known = knownAlerts(manager);
  const rows = rules
    .filter((rule) => rule.type === "alerting" && !isHeartbeat(rule.labels, rule.name))
    .flatMap((rule) => {
      const alerts = rule.alerts ?? [];
      return alerts.length === 0 ? [restingRow(rule)] : alerts.map((alert) => activeRow(rule, alert, known)).sort(byKey);
    });
  for (const rule of rules.filter((r) => isHeartbeat(r.labels, r.name))) {
    // It may have other labels there.
    for (const alert of rule.alerts ?? []) known.take(known.sent(alert.labels) ?? {});
  }
  const strange = known.rest().filter((alert) => !isHeartbeat(alert.labels));
  rows.push(...strange.map((alert) => strangeRow(alert, known)).sort(byKey));
  /** @type {Map<string, number>} */
  const times = new Map();
  for (const row of rows) {
    const before = times.get(row.key) ?? 0;
    times.set(row.key, before + 1);
    if (before > 0) row.key += `#${before}`;
  }
  return rows.sort((a, b) => order[a.state] - order[b.state]);
}

/**
 * The servers tell alerts in another order each time.
 * @param {AlertRow} a
 * @param {AlertRow} b
 */
function byKey(a, b) {
  return a.key < b.key ? -1 : a.key > b.key ? 1 : 0;
}

/**
 * @param {Rule} rule
 * @returns {AlertRow}
 */
function restingRow(rule) {
  const failed = rule.health === "err";
  return {
    key: rule.name,
    name: clip(rule.name, mostName),
    severity: clip(rule.labels?.severity ?? "", mostName),
    state: failed ? "error" : rule.health === "unknown" ? "unknown" : "inactive",
    value: null,
    since: null,
    text: clip(failed ? `The rule cannot be evaluated: ${rule.lastError ?? "no reason given"}` : textOf(rule.annotations, true)),
    detail: clip(rule.query),
    labels: {},
    runbook: linkOf(rule.annotations),
    quiet: "",
    fingerprint: "",
    receivers: [],
  };
}

/**
 * @param {Rule} rule
 * @param {NonNullable<Rule["alerts"]>[number]} alert
 * @param {ReturnType<typeof knownAlerts>} known
 * @returns {AlertRow}
 */
function activeRow(rule, alert, known) {
  const firing = alert.state === "firing";
  const state = stateOf(firing, alert.labels, known);
  return {
    key: `${rule.name} ${keyOf(alert.labels)}`,
    name: clip(rule.name, mostName),
    severity: clip(state.labels.severity ?? alert.labels.severity ?? rule.labels?.severity ?? "", mostName),
    value: parseValue(alert.value),
    since: millis(alert.activeAt),
    text: clip(textOf(alert.annotations, false)),
    detail: clip(rule.query),
    runbook: linkOf(alert.annotations),
    ...state,
  };
}

/**
 * @param {boolean} firing
 * @param {Labels} own of an alert of a rule
 * @param {ReturnType<typeof knownAlerts>} known
 * @returns {Pick<AlertRow, "state" | "quiet" | "labels" | "dropped" | "fingerprint" | "receivers">}
 */
function stateOf(firing, own, known) {
  const labels = known.sent(own);
  const nowhere = { fingerprint: "", receivers: [] };
  if (!firing) return { state: "pending", quiet: "", labels: labels ?? own, dropped: !labels, ...nowhere };
  if (!labels) return { state: "muted", quiet: "Not sent: dropped by alert_relabel_configs", labels: own, dropped: true, ...nowhere };
  const alert = known.take(labels);
  return { ...known.suppression(alert), labels, fingerprint: alert?.fingerprint ?? "", receivers: receiversOf(alert) };
}

/**
 * An alert that no rule here gives now.
 * @param {ManagerAlert} alert
 * @param {ReturnType<typeof knownAlerts>} known
 * @returns {AlertRow}
 */
function strangeRow(alert, known) {
  const name = alert.labels.alertname ?? "An alert without a name";
  return {
    key: `${name} ${keyOf(alert.labels)}`,
    name: clip(name, mostName),
    severity: clip(alert.labels.severity ?? "", mostName),
    value: null,
    since: millis(alert.startsAt),
    text: clip(textOf(alert.annotations, false)),
    detail: "Known to Alertmanager alone: it came from elsewhere, or from before a restart.",
    labels: alert.labels,
    runbook: linkOf(alert.annotations),
    fingerprint: alert.fingerprint,
    receivers: receiversOf(alert),
    ...known.suppression(alert),
  };
}

/** @param {ManagerAlert | undefined} alert */
function receiversOf(alert) {
  return (alert?.receivers ?? []).map((receiver) => receiver.name);
}

/**
 * Finds what Alertmanager says about an alert of a rule. There it may have further labels: those of the
 * whole process. All alerts of a rule have the same names of labels, so each search is one look into a map.
 * @param {Manager | null} manager
 */
function knownAlerts(manager) {
  /** @type {Map<string, ManagerAlert[]>} */
  const byName = new Map();
  /** @type {Map<string, ManagerAlert>} */
  const byFingerprint = new Map();
  for (const alert of manager?.alerts ?? []) {
    const name = alert.labels.alertname ?? "";
    const list = byName.get(name) ?? [];
    list.push(alert);
    byName.set(name, list);
    byFingerprint.set(alert.fingerprint, alert);
  }
  const silences = new Map(manager?.silences.map((silence) => [silence.id, silence]));
  /** @type {Map<string, Map<string, ManagerAlert>>} by the names of labels, then by their values */
  const indexes = new Map();
  /** @type {Set<ManagerAlert>} */
  const taken = new Set();
  const outgoing = new Map(manager?.outgoing?.map((alert) => [keyOf(alert.labels), alert]));

  return {
    /**
     * The labels with which an alert of a rule is sent, undefined when it is dropped.
     * @param {Labels} labels
     */
    sent(labels) {
      const changed = outgoing.size > 0 ? outgoing.get(keyOf(labels)) : undefined;
      return changed ? changed.sent : labels;
    },

    /** @param {Labels} labels */
    take(labels) {
      const names = Object.keys(labels).sort();
      const signature = JSON.stringify([labels.alertname ?? "", names]);
      let index = indexes.get(signature);
      if (!index) {
        const list = byName.get(labels.alertname ?? "") ?? [];
        index = new Map(list.map((alert) => [valuesOf(alert.labels, names), alert]));
        indexes.set(signature, index);
      }
      const found = index.get(valuesOf(labels, names));
      if (found) taken.add(found);
      return found;
    },

    /** Those that nobody took. */
    rest: () => (manager?.alerts ?? []).filter((alert) => !taken.has(alert)),

    /**
     * @param {ManagerAlert | undefined} alert
     * @returns {Pick<AlertRow, "state" | "quiet">}
     */
    suppression(alert) {
      const silencedBy = alert?.status.silencedBy ?? [];
      const inhibitedBy = alert?.status.inhibitedBy ?? [];
      const mutedBy = alert?.status.mutedBy ?? [];
      if (alert?.status.state !== "suppressed") return { state: "firing", quiet: "" };
      if (silencedBy.length > 0) {
        const ends = silencedBy.flatMap((id) => silences.get(id) ?? []).sort((a, b) => Date.parse(b.endsAt) - Date.parse(a.endsAt));
        return { state: "silenced", quiet: ends[0] ? `Silenced ${tellSilence(ends[0])}` : "Silenced" };
      }
      // The name alone says whether it is meant as a time to be quiet or as the only one to speak.
      if (inhibitedBy.length === 0 && mutedBy.length > 0) return { state: "muted", quiet: clip(`Muted by time interval: ${mutedBy.join(", ")}`) };
      const by = new Set(inhibitedBy.map((fingerprint) => byFingerprint.get(fingerprint)?.labels.alertname ?? "another alert"));
      return { state: "inhibited", quiet: clip(`Not told while ${[...by].join(", ") || "another alert"} fires`) };
    },
  };
}

/**
 * Until when, by whom and why.
 * @param {Silence} silence
 */
export function tellSilence(silence) {
  const begins = silence.status.state === "pending" ? `from ${formatTime(Date.parse(silence.startsAt) / 1000)} ` : "";
  const by = silence.createdBy === "" || silence.createdBy === "page" ? "" : ` by ${silence.createdBy}`;
  const why = silence.comment === "" ? "" : `: ${silence.comment}`;
  return clip(`${begins}until ${formatTime(Date.parse(silence.endsAt) / 1000)}${by}${why}`);
}

/**
 * How many of all alerts a silence matches now. One that matches all of several is worth a warning.
 * @param {Silence} silence
 * @param {ManagerAlert[]} alerts
 * @returns {{text: string, all: boolean}}
 */
export function tellReach(silence, alerts) {
  const n = alerts.filter((alert) => alert.status.silencedBy?.includes(silence.id)).length;
  const all = n > 1 && n === alerts.length;
  return { text: all ? `Silences all ${n} alerts.` : `${n} ${n === 1 ? "alert" : "alerts"}`, all };
}

/** @param {Silence} silence */
export function tellMatchers(silence) {
  const sign = (/** @type {import("./types.js").Matcher} */ m) => (m.isEqual === false ? "!" : "=") + (m.isRegex ? "~" : m.isEqual === false ? "=" : "");
  return clip(silence.matchers.map((m) => `${nameOf(m.name)}${sign(m)}${JSON.stringify(m.value)}`).join(", "));
}

/**
 * The labels that tell alerts of one rule apart.
 * @param {Labels} labels
 */
export function tellLabels(labels) {
  const rest = Object.entries(labels).filter(([name]) => name !== "alertname" && name !== "severity");
  return clip(rest.map(([name, value]) => `${nameOf(name)}=${JSON.stringify(value)}`).join(", "));
}

/**
 * The name of a label as matchers have it: quoted where it would not be read as one name.
 * @param {string} name
 */
function nameOf(name) {
  return /^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name) ? name : JSON.stringify(name);
}

/**
 * The last attempt of each integration, where that failed. A receiver that is configured no more cannot
 * fail any more either.
 * @param {Attempt[]} attempts newest first
 * @param {string[] | null} [receivers] that exist, if somebody knows
 */
export function failingOf(attempts, receivers = null) {
  /** @type {Map<string, Attempt>} */
  const last = new Map();
  for (const attempt of attempts) {
    const key = JSON.stringify([attempt.receiver, attempt.integration]);
    if (!last.has(key)) last.set(key, attempt);
  }
  return [...last.values()].filter((a) => a.outcome === "failed" && (receivers?.includes(a.receiver) ?? true));
}

/**
 * What was sent, in a few words.
 * @param {Attempt} attempt
 */
export function tellAttempt(attempt) {
  const alerts = attempt.alerts ?? [];
  const names = [...new Set(alerts.map((alert) => alert.labels?.alertname ?? "?"))];
  const total = attempt.alerts_total ?? alerts.length;
  const resolved = alerts.length > 0 && alerts.every((alert) => alert.status === "resolved");
  const more = names.length > 2 ? ` and ${names.length - 2} more` : "";
  const count = total > 1 ? ` (${total} alerts)` : "";
  return clip(`${attempt.test ? "test: " : ""}${names.slice(0, 2).join(", ")}${more}${count}${resolved ? " resolved" : ""}`);
}

/**
 * What the header says: green only when every rule was evaluated and Alertmanager answered.
 * @param {AlertsState} alerts
 * @returns {{state: string, text: string, detail: string}}
 */
export function verdict(alerts) {
  const say = (/** @type {string} */ state, /** @type {string} */ text, /** @type {string[]} */ ...details) => ({ state, text, detail: details.join(", ") });
  if (alerts.state === "loading") return say("loading", "Alerts loading");
  if (alerts.state === "error") return say("unknown", "Alerts unknown");
  const unknown = alerts.error !== null || alerts.managerError !== null;
  const count = (/** @type {AlertRow["state"]} */ state) => alerts.rows.filter((row) => row.state === state).length;
  const failing = (alerts.told?.failing.length ?? 0) > 0;
  if (count("firing") > 0) {
    const more = [...(unknown ? ["others unknown"] : []), ...(failing ? ["notifying fails"] : [])];
    return say("firing", `${count("firing")} firing`, ...bySeverity(alerts.rows), ...more);
  }
  const pending = count("pending") > 0 ? `${count("pending")} pending` : "";
  if (failing) return say("error", "Notifying fails");
  if (count("error") > 0) return say("error", "Rules fail");
  if (alerts.heartbeat === "missing") return say("error", "No heartbeat");
  if (unknown) return say("unknown", "Alerts unknown", ...(pending === "" ? [] : [pending]));
  if (pending !== "") return say("pending", pending);
  if (count("unknown") > 0) return say("unknown", "Rules not evaluated yet");
  const quiet = count("silenced") + count("inhibited") + count("muted");
  if (quiet > 0) return say("silenced", `${quiet} ${quiet === count("muted") ? "muted" : "silenced"}`);
  return alerts.rows.length === 0 ? say("none", "No alert rules") : say("inactive", "No alerts");
}

/**
 * How many alerts of each severity fire.
 * @param {AlertRow[]} rows
 * @returns {string[]}
 */
function bySeverity(rows) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  const firing = rows.filter((row) => row.state === "firing");
  for (const { severity } of firing) {
    const name = severities.find((known) => known === severity.toLowerCase()) ?? "other";
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const named = [...severities, "other"].filter((name) => counts.has(name));
  if (named.length > 1) return named.map((name) => `${counts.get(name)} ${name}`);
  return named[0] === "other" ? [] : named.map((name) => (firing.length > 1 ? `all ${name}` : name));
}

/**
 * @param {Labels | undefined} annotations
 * @param {boolean} template the text is not filled in
 */
function textOf(annotations, template) {
  const summary = annotations?.summary ?? "";
  const description = annotations?.description ?? "";
  if (!template) return description || summary;
  return [summary, description].find((text) => text !== "" && !text.includes("{{")) ?? "";
}

/**
 * A runbook's address, when it is one that a browser may be sent to. In the annotations of a rule at rest the server's
 * own address is not filled in yet.
 * @param {Labels | undefined} annotations
 */
function linkOf(annotations) {
  const text = (annotations?.runbook_url ?? "").replace(/^\{\{-?\s*\$?externalURL\s*-?\}\}\/?/, () => new URL(".", document.baseURI).href);
  if (text.includes("{{") || !URL.canParse(text)) return "";
  const url = new URL(text);
  return url.protocol === "https:" || url.protocol === "http:" ? url.href : "";
}

/**
 * A text of others as it can be shown: not too long, and without the marks that would turn what stands beside
 * it around.
 * @param {string} text
 * @param {number} [most] characters
 */
export function clip(text, most = mostText) {
  const shown = text.length > most ? `${text.slice(0, most)}…` : text;
  return shown.replace(/[\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
}

/** @param {Labels} labels */
function keyOf(labels) {
  return JSON.stringify(Object.entries(labels).sort());
}

/**
 * @param {Labels} labels
 * @param {string[]} names
 */
function valuesOf(labels, names) {
  return JSON.stringify(names.map((name) => labels[name] ?? null));
}

/** @param {string | undefined} time */
function millis(time) {
  const at = Date.parse(time ?? "");
  return Number.isNaN(at) ? null : at;
}
