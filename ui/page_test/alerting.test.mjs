// Tests of when the page asks for alerts and what it makes of answers that come late or not at all.

import assert from "node:assert/strict";
import { test } from "node:test";
import { createAlerting } from "../page/alerting.js";
import { verdict } from "../page/alerts.js";
import { ApiError, attempt } from "../page/api.js";
import { signal } from "../third_party/signals.js";

globalThis.requestAnimationFrame ??= (paint) => setTimeout(paint);

const rule = (name, state, severity = "critical") => ({
  name,
  type: "alerting",
  state,
  query: "q",
  health: "ok",
  labels: { severity },
  alerts: state === "firing" ? [{ state, labels: { alertname: name, severity }, annotations: {}, activeAt: "", value: "1" }] : [],
});
const silenced = { fingerprint: "1", labels: { alertname: "Down", severity: "critical" }, status: { state: "suppressed", silencedBy: ["s"] } };

/** A client that counts what it is asked and answers with what it is given. */
function fakeClient(answers) {
  const asked = { alertingRules: 0, manager: 0, notifications: 0, receivers: 0 };
  const client = Object.fromEntries(
    Object.keys(asked).map((name) => [
      name,
      async () => {
        asked[name]++;
        const answer = answers[name];
        if (answer instanceof Error) throw answer;
        return typeof answer === "function" ? answer() : answer;
      },
    ]),
  );
  return { asked, client };
}

const abort = new AbortController().signal;
const refresh = (alerting) => attempt(abort, () => alerting.ask(abort), alerting.fail);
const nobody = { attempts: [], notifies: false };

test("Alertmanager is asked at every refresh, and the ledger once in a while until something fires", async () => {
  const answers = { alertingRules: [rule("Watchdog", "firing", "none"), rule("Down", "inactive")], manager: { alerts: [], silences: [] }, notifications: nobody };
  const { asked, client } = fakeClient(answers);
  const alerting = createAlerting(client, signal(""));
  for (let i = 0; i < 11; i++) await refresh(alerting);
  assert.deepEqual(asked, { alertingRules: 11, manager: 11, notifications: 2, receivers: 0 });

  answers.alertingRules = [rule("Down", "firing")];
  for (let i = 0; i < 2; i++) await refresh(alerting);
  assert.deepEqual(asked, { alertingRules: 13, manager: 13, notifications: 4, receivers: 0 });
});

test("a posted alert counts although no rule fires", async () => {
  const posted = { fingerprint: "2", labels: { alertname: "DiskFull", severity: "critical" }, status: { state: "active" } };
  const answers = { alertingRules: [rule("Down", "inactive")], manager: { alerts: [], silences: [] }, notifications: nobody };
  const said = signal("");
  const alerting = createAlerting(fakeClient(answers).client, said);
  await refresh(alerting);
  assert.equal(verdict(alerting.alerts.value).state, "inactive");
  answers.manager = { alerts: [posted], silences: [] };
  await refresh(alerting);
  assert.deepEqual(verdict(alerting.alerts.value), { state: "firing", text: "1 firing", detail: "critical" });
  assert.equal(said.value, "Alert firing: DiskFull.");
  answers.alertingRules = new ApiError("refused", "away");
  await refresh(alerting);
  assert.deepEqual(verdict(alerting.alerts.value), { state: "firing", text: "1 firing", detail: "critical, others unknown" });
  answers.manager = { alerts: [], silences: [] };
  await refresh(alerting);
  assert.equal(verdict(alerting.alerts.value).state, "unknown");
  answers.manager = new ApiError("unreachable", "gone");
  assert.equal((await refresh(alerting)).message, "away", "nobody answers");
  assert.equal(verdict(alerting.alerts.value).state, "unknown");
});

test("a receiver that fails is asked after until it works", async () => {
  const answers = { alertingRules: [], notifications: { attempts: [{ receiver: "a", outcome: "failed" }], notifies: true }, receivers: new ApiError("refused", "no") };
  const { asked, client } = fakeClient(answers);
  const alerting = createAlerting(client, signal(""));
  for (let i = 0; i < 3; i++) await refresh(alerting);
  assert.equal(asked.notifications, 3);
  assert.equal(alerting.alerts.value.told.failing.length, 1, "nobody knows which receivers there are");
  answers.receivers = ["b"];
  await refresh(alerting);
  assert.equal(alerting.alerts.value.told.failing.length, 0);
});

test("what is silenced is never announced, and what fires is announced once", async () => {
  const answers = { alertingRules: [rule("Down", "firing")], manager: { alerts: [silenced], silences: [] }, notifications: nobody };
  const said = signal("");
  const alerting = createAlerting(fakeClient(answers).client, said);
  await refresh(alerting);
  assert.equal(said.value, "");
  answers.manager = { alerts: [], silences: [] };
  await refresh(alerting);
  assert.equal(said.value, "Alert firing: Down.");
  said.value = "";
  await refresh(alerting);
  assert.equal(said.value, "");
});

test("an older answer does not bring back what was silenced since", async () => {
  let late;
  const answers = { alertingRules: [rule("Down", "firing")], manager: () => new Promise((done) => (late = done)), notifications: nobody };
  const { asked, client } = fakeClient(answers);
  const alerting = createAlerting(client, signal(""));
  const older = refresh(alerting);
  while (asked.manager === 0) await new Promise(setImmediate);
  answers.manager = { alerts: [silenced], silences: [] };
  await refresh(alerting);
  late({ alerts: [], silences: [] });
  assert.equal(await older, null);
  assert.equal(alerting.alerts.value.rows[0].state, "silenced");
});

test("without Alertmanager the rules are shown, with what was last known of it", async () => {
  const answers = { alertingRules: [rule("Down", "firing")], manager: { alerts: [silenced], silences: [] }, notifications: nobody };
  const alerting = createAlerting(fakeClient(answers).client, signal(""));
  await refresh(alerting);
  answers.manager = new ApiError("refused", "away");
  answers.notifications = new TypeError("garbage");
  assert.equal(await refresh(alerting), null, "no outage");
  const { rows, state, managerError, toldError, told } = alerting.alerts.value;
  assert.deepEqual([state, rows[0].state, managerError, told.notifies], ["ready", "silenced", "away", false]);
  assert.match(toldError, /garbage/);
});
