// Tests of the page's modules that need no browser. Run: node --test ui/page_test/

import assert from "node:assert/strict";
import { test } from "node:test";
import { failingOf, heartbeatOf, tellAttempt, tellLabels, tellMatchers, tellReach, toAlerts, verdict } from "../page/alerts.js";
import { ApiError, createClient } from "../page/api.js";
import { axisSteps, formatAge, formatStat, formatTimes, formatValue, parseValue } from "../page/format.js";
import { choices, fixedRange, formatHash, gridOf, lastRange, parseDuration, parseHash } from "../page/range.js";
import { mostSeries, nameSeries, toFrame, toStats } from "../page/series.js";

test("values carry their unit", () => {
  const cases = [
    [null, "short", "–"],
    [Number.NaN, "percent", "–"],
    [Number.POSITIVE_INFINITY, "short", "∞"],
    [0, "bytes", "0 B"],
    [1023, "bytes", "1023 B"],
    [1023.9, "bytes", "1 KiB"],
    [1536, "bytes", "1.5 KiB"],
    [61_000_000, "bytes", "58.2 MiB"],
    [2 ** 30, "bytes", "1 GiB"],
    [2 ** 70, "bytes", "1048576 PiB"],
    [0, "percent", "0 %"],
    [4.999, "percent", "5 %"],
    [33.333, "percent", "33.3 %"],
    [100, "percent", "100 %"],
    [0.0667, "reqps", "0.067 req/s"],
    [0.00004, "reqps", "4.0e-5 req/s"],
    [12_345, "short", "12,345"],
    [999_999, "short", "999,999"],
    [1_000_000, "short", "1 M"],
    [1234.5, "short", "1.23 k"],
    [-2.5, "short", "-2.5"],
  ];
  for (const [value, unit, want] of cases) assert.equal(formatValue(value, unit), want, `${value} ${unit}`);
});

test("big numbers stand in full, their unit apart", () => {
  assert.deepEqual(formatStat(1_234_567, "short"), ["1,234,567", ""]);
  assert.deepEqual(formatStat(61_000_000, "bytes"), ["58.2", "MiB"]);
  assert.deepEqual(formatStat(null, "bytes"), ["–", ""]);
});

test("steps of axes ascend, and counts are whole", () => {
  for (const steps of Object.values(axisSteps)) {
    assert.deepEqual(steps, [...steps].sort((a, b) => a - b));
  }
  assert.ok(axisSteps.short.every(Number.isInteger));
});

test("time labels name the day where it begins", () => {
  const midnight = new Date(2026, 10, 22).getTime() / 1000;
  assert.deepEqual(formatTimes([midnight - 3600, midnight, midnight + 3600], 3600), ["23:00", "22 Nov", "01:00"]);
  assert.deepEqual(formatTimes([midnight + 3600 + 15], 15), ["01:00:15"]);
});

test("ages are short", () => {
  assert.deepEqual([-3, 0, 59, 60, 3661, 90_000].map(formatAge), ["0 s", "0 s", "59 s", "1 min", "1 h 1 min", "1 d 1 h"]);
});

test("numbers of Prometheus", () => {
  assert.equal(parseValue("+Inf"), Number.POSITIVE_INFINITY);
  assert.equal(parseValue("-Inf"), Number.NEGATIVE_INFINITY);
  assert.ok(Number.isNaN(parseValue("NaN")));
  assert.equal(parseValue("1.5e+03"), 1500);
});

test("every choice is a duration and survives the address", () => {
  for (const choice of choices) {
    assert.ok(parseDuration(choice) > 0);
    assert.deepEqual(parseHash(formatHash(lastRange(choice)), "1h"), lastRange(choice));
  }
  const fixed = fixedRange(1_700_000_000.4, 1_700_003_600.2);
  assert.deepEqual(parseHash(formatHash(fixed), "1h"), fixed);
});

test("an address that makes no sense is the fallback", () => {
  for (const hash of ["", "#", "#range=", "#range=1y", "#range=__proto__", "#from=1", "#from=x&to=y", "#from=20&to=10", "#from=1&to=2", "#from=1&to=1e300", "#%%%"]) {
    assert.deepEqual(parseHash(hash, "1h"), lastRange("1h"), hash);
  }
});

test("a dragged range has a least length", () => {
  assert.equal(fixedRange(100, 110), null);
  assert.deepEqual(fixedRange(100.5, 200.5), { from: 100, to: 201 });
});

test("the grid fits the width, lies on multiples of its step, and stays below the server's limit", () => {
  for (const choice of choices) {
    for (const width of [10, 320, 650, 1600, 10_000]) {
      const now = 1_795_000_007.5;
      const range = lastRange(choice);
      const { start, end, step } = gridOf(range, now, width);
      assert.equal(start % step, 0);
      assert.equal(end % step, 0);
      assert.ok(end <= now && now - end < step, `${choice} ends now`);
      assert.ok(start <= now - range.seconds, `${choice} begins in time`);
      assert.ok((end - start) / step < 1500, `${choice} at ${width}`);
      assert.ok(step >= 15);
    }
  }
  assert.deepEqual(gridOf({ from: 0, to: 86_400 * 4000 }, 0, 300).step % 86_400, 0);
});

const panel = { name: "P", kind: "timeseries", query: "q", unit: "short", legend: "{{mode}}", description: "d" };
const grid = { start: 0, end: 60, step: 15 };

test("what is missing or cannot be drawn is a gap", () => {
  const frame = toFrame(panel, [{ metric: { mode: "soc" }, values: [[0, "1"], [30, "NaN"], [45, "+Inf"], [60, "4"], [75, "9"]] }], grid);
  assert.deepEqual(frame.times, [0, 15, 30, 45, 60]);
  assert.deepEqual(frame.series[0].values, [1, null, null, null, 4]);
  assert.equal(frame.series[0].last, 4);
});

test("series without anything to draw are left out", () => {
  const frame = toFrame(panel, [{ metric: { mode: "soc" }, values: [[0, "NaN"]] }, { metric: { mode: "x" } }], grid);
  assert.equal(frame.series.length, 0);
});

test("series stand in the order of their names, and there is an end to them", () => {
  const matrix = Array.from({ length: 60 }, (_, i) => ({ metric: { mode: `m${59 - i}` }, values: [[0, "1"]] }));
  const frame = toFrame(panel, matrix, grid);
  assert.equal(frame.series.length, mostSeries);
  assert.equal(frame.hidden, 20);
  assert.deepEqual(frame.series.slice(0, 3).map((s) => s.label), ["m0", "m1", "m2"]);
});

test("names are unique where labels allow it", () => {
  const two = [{ mode: "soc", instance: "a:1" }, { mode: "soc", instance: "b:1" }, { mode: "ioc", instance: "a:1" }];
  assert.deepEqual(nameSeries("{{mode}}", two), ["soc · a:1", "soc · b:1", "ioc"]);
  assert.deepEqual(nameSeries("{{nothing}}", [{ __name__: "x" }]), ["value"]);
  assert.deepEqual(nameSeries("{{toString}}", [{}]), ["value"]);
});

test("keys tell series apart whose labels look alike", () => {
  const frame = toFrame(panel, [{ metric: { a: 'x",b="y' }, values: [[0, "1"]] }, { metric: { a: "x", b: "y" }, values: [[0, "1"]] }], grid);
  assert.notEqual(frame.series[0].key, frame.series[1].key);
});

test("numbers of a vector", () => {
  assert.deepEqual(toStats(panel, [{ metric: { mode: "b" }, value: [0, "2"] }, { metric: { mode: "a" } }]).map((s) => [s.label, s.value]), [["a", null], ["b", 2]]);
});

test("alerts come worst first, and a rule at rest is a row as well", () => {
  const rule = { type: "alerting", query: "q", duration: 0, health: "ok", labels: { severity: "warning" } };
  const rows = toAlerts([
    { ...rule, name: "Rest", state: "inactive", annotations: { summary: "{{ $value }} is much", description: "Too much." } },
    { ...rule, name: "Broken", state: "inactive", health: "err", lastError: "no such thing" },
    { type: "recording", name: "rec" },
    {
      ...rule,
      name: "Two",
      state: "firing",
      alerts: [
        { state: "pending", labels: { severity: "critical" }, annotations: { summary: "s" }, activeAt: "2026-11-22T10:00:00.5Z", value: "7e+00" },
        { state: "firing", labels: {}, annotations: {}, activeAt: "never", value: "+Inf" },
      ],
    },
  ]);
  assert.deepEqual(rows.map((r) => [r.name, r.state]), [["Two", "firing"], ["Two", "pending"], ["Broken", "error"], ["Rest", "inactive"]]);
  assert.equal(rows[1].value, 7);
  assert.equal(rows[1].severity, "critical");
  assert.equal(rows[1].since, Date.parse("2026-11-22T10:00:00.5Z"));
  assert.equal(rows[0].since, null);
  assert.equal(rows[3].text, "Too much.", "a template that is not filled in is not shown");
  assert.match(rows[2].text, /no such thing/);
});

/** An alerting rule, with its firing alerts. */
const ruleOf = (name, alerts, more = {}) => ({
  name,
  type: "alerting",
  query: "q",
  health: "ok",
  state: alerts.length > 0 ? "firing" : "inactive",
  alerts: alerts.map((labels) => ({ state: "firing", labels: { alertname: name, ...labels }, annotations: {}, activeAt: "", value: "1" })),
  ...more,
});
const active = (fingerprint, labels, status = {}) => ({ fingerprint, labels, annotations: {}, status: { state: "active", silencedBy: [], inhibitedBy: [], ...status } });
const silence = (id, more = {}) => ({
  id,
  matchers: [],
  startsAt: "2026-11-22T10:00:00Z",
  endsAt: "2026-11-22T12:00:00Z",
  createdBy: "ops",
  comment: "works",
  status: { state: "active" },
  ...more,
});
const watchdog = ruleOf("Watchdog", [{ severity: "none" }], { labels: { severity: "none" } });

test("what Alertmanager suppresses does not fire", () => {
  const rules = [ruleOf("Down", [{ host: "a" }, { host: "b" }, { host: "c" }]), ruleOf("New", [{}]), watchdog];
  const manager = {
    alerts: [
      active("1", { alertname: "Down", host: "a", site: "x" }, { state: "suppressed", silencedBy: ["s1", "s2"] }),
      active("2", { alertname: "Down", host: "b", site: "x" }, { state: "suppressed", inhibitedBy: ["3"] }),
      active("3", { alertname: "Down", host: "c", site: "x" }),
      active("4", { alertname: "Foreign" }),
      active("5", { alertname: "Watchdog", severity: "none" }),
    ],
    silences: [silence("s1"), silence("s2", { endsAt: "2026-11-23T12:00:00Z", comment: "longer" })],
  };
  const rows = toAlerts(rules, manager);
  assert.deepEqual(
    rows.map((r) => [r.name, r.labels.host, r.state]),
    [["Down", "c", "firing"], ["New", undefined, "firing"], ["Foreign", undefined, "firing"], ["Down", "b", "inhibited"], ["Down", "a", "silenced"]],
  );
  assert.match(rows[3].quiet, /while Down fires/);
  assert.match(rows[4].quiet, /^Silenced until .* by ops: longer$/, "the silence that ends last");
  assert.equal(new Set(rows.map((r) => r.key)).size, rows.length);
  assert.deepEqual(toAlerts(rules).filter((r) => r.state === "firing").length, 4, "nobody knows what is silenced");
});

test("an alert of a rule is found by the labels with which it is sent", () => {
  const rules = [ruleOf("Down", [{ host: "a", replica: "1" }, { host: "b", replica: "1" }, { host: "c" }, { host: "d", replica: "1" }, { host: "d", replica: "2" }])];
  const manager = {
    alerts: [
      active("1", { alertname: "Down", host: "a", "service.name": "shop" }),
      active("2", { alertname: "Down", host: "c" }, { state: "suppressed", silencedBy: ["s"] }),
      active("3", { alertname: "Renamed", host: "d" }),
    ],
    silences: [silence("s")],
    outgoing: [
      { labels: { replica: "1", host: "a", alertname: "Down" }, sent: { alertname: "Down", host: "a", "service.name": "shop" } },
      { labels: { alertname: "Down", host: "b", replica: "1" }, dropped: true },
      { labels: { alertname: "Down", host: "d", replica: "1" }, sent: { alertname: "Renamed", host: "d" } },
      { labels: { alertname: "Down", host: "d", replica: "2" }, sent: { alertname: "Renamed", host: "d" } },
    ],
  };
  const rows = toAlerts(rules, manager);
  assert.deepEqual(
    rows.map((r) => [r.name, r.state, r.labels, r.dropped ?? false]),
    [
      ["Down", "firing", { alertname: "Down", host: "a", "service.name": "shop" }, false],
      ["Down", "firing", { alertname: "Renamed", host: "d" }, false],
      ["Down", "firing", { alertname: "Renamed", host: "d" }, false],
      ["Down", "muted", { alertname: "Down", host: "b", replica: "1" }, true],
      ["Down", "silenced", { alertname: "Down", host: "c" }, false],
    ],
    "none of them stands in the list a second time",
  );
  assert.match(rows[3].quiet, /alert_relabel_configs/);
  assert.equal(new Set(rows.map((r) => r.key)).size, rows.length);
});

test("the heartbeat is no alert under other labels either", () => {
  const manager = {
    alerts: [active("1", { alertname: "Alive", severity: "info" })],
    silences: [],
    outgoing: [{ labels: { alertname: "Watchdog", severity: "none" }, sent: { alertname: "Alive", severity: "info" } }],
  };
  assert.deepEqual(toAlerts([watchdog], manager), []);
});

test("names are quoted where a matcher needs it", () => {
  assert.equal(tellLabels({ alertname: "A", "service.name": 'a"b\\', städte: "köln", ok_1: "x" }), '"service.name"="a\\"b\\\\", "städte"="köln", ok_1="x"');
  const utf8 = silence("s", { matchers: [{ name: "a b", value: "x", isRegex: true, isEqual: false }] });
  assert.equal(tellMatchers(utf8), '"a b"!~"x"');
});

test("what is muted by time does not fire either, unless something else keeps it quiet", () => {
  const manager = {
    alerts: [
      active("1", { alertname: "Down", host: "a" }, { state: "suppressed", mutedBy: ["nights", "weekends"] }),
      active("2", { alertname: "Down", host: "b" }, { state: "suppressed", mutedBy: ["nights"], silencedBy: ["s"] }),
      active("3", { alertname: "Down", host: "c" }, { state: "suppressed", mutedBy: ["nights"], inhibitedBy: ["1"] }),
    ],
    silences: [],
  };
  const rows = toAlerts([ruleOf("Down", [{ host: "a" }, { host: "b" }, { host: "c" }])], manager);
  assert.deepEqual(rows.map((r) => [r.labels.host, r.state]), [["c", "inhibited"], ["a", "muted"], ["b", "silenced"]]);
  assert.equal(rows[1].quiet, "Muted by time interval: nights, weekends");
});

test("alerts stand in one order, whatever that of the answers", () => {
  const hosts = ["a", "b", "c", "d"];
  const of = (list) =>
    toAlerts([ruleOf("Z", [{}]), ruleOf("Down", list.map((host) => ({ host })))], { alerts: list.map((host) => active(host, { alertname: "Other", host })), silences: [] });
  const want = ["Z", "Down a", "Down b", "Down c", "Down d", "Other a", "Other b", "Other c", "Other d"];
  for (const list of [hosts, hosts.toReversed()]) assert.deepEqual(of(list).map((r) => [r.name, r.labels.host].filter(Boolean).join(" ")), want);
});

test("texts of others are cut, and turn nothing around", () => {
  const name = `\u202e${"x".repeat(8000)}`;
  const [row] = toAlerts([], { alerts: [active("1", { alertname: name, severity: "y".repeat(8000), host: "a\u2067b" })], silences: [] });
  assert.deepEqual([row.name.slice(0, 2), row.name.length, row.severity.length, tellLabels(row.labels)], ["\ufffdx", 101, 101, 'host="a\ufffdb"']);
  assert.equal(row.labels.alertname, name, "what is silenced is the alert as it is");
});

test("an alert keeps its key while others come and go", () => {
  const both = toAlerts([ruleOf("Down", [{ host: "a" }, { host: "b" }])]);
  const one = toAlerts([ruleOf("Down", [{ host: "b" }])]);
  assert.equal(one[0].key, both[1].key);
  const twins = toAlerts([ruleOf("Down", [{ host: "a" }]), ruleOf("Down", [{ host: "a" }])]);
  assert.notEqual(twins[0].key, twins[1].key);
});

test("ten thousand alerts are joined in no time", () => {
  const hosts = Array.from({ length: 10_000 }, (_, i) => String(i));
  const manager = { alerts: hosts.map((host) => active(host, { alertname: "Down", host, site: "x" }, { state: "suppressed", silencedBy: ["?"] })), silences: [] };
  const start = performance.now();
  const rows = toAlerts([ruleOf("Down", hosts.map((host) => ({ host })))], manager);
  assert.ok(rows.length === 10_000 && rows.every((r) => r.state === "silenced"));
  assert.ok(performance.now() - start < 20000);
});

test("a runbook is a page of the web", () => {
  const link = (runbook_url) => toAlerts([ruleOf("A", [], { annotations: { runbook_url } })])[0].runbook;
  assert.equal(link("https://host/a#b"), "https://host/a#b");
  assert.equal(link("HTTP://host"), "http://host/");
  for (const bad of ["", "a.md", "//host/a", "javascript:alert(1)", " java\tscript:alert(1)", "data:text/html,x", "https://{{ $labels.host }}/", "https://["]) {
    assert.equal(link(bad), "", bad);
  }
});

test("the heartbeat is missed when its rule does not fire", () => {
  assert.equal(heartbeatOf([watchdog]), "fires");
  assert.equal(heartbeatOf([]), "none");
  assert.equal(heartbeatOf([{ ...watchdog, labels: { severity: "critical" } }]), "none", "somebody else's");
  assert.equal(heartbeatOf([{ ...watchdog, state: "inactive" }]), "missing");
  assert.equal(heartbeatOf([{ ...watchdog, state: "unknown", health: "unknown" }]), "none", "not evaluated yet");
});

test("an alert whose labels were changed on the way counts once, by its severity there", () => {
  const sent = (fingerprint, labels) => ({ fingerprint, labels, status: { state: "active" }, receivers: [{ name: "pager" }] });
  const own = { alertname: "Down", severity: "critical", pod: "a" };
  const down = { name: "Down", type: "alerting", state: "firing", query: "q", health: "ok", alerts: [{ labels: own, annotations: {}, state: "firing", value: "1" }] };
  const there = { alertname: "Renamed", severity: "info" };
  const manager = { alerts: [sent("1", there), sent("2", { alertname: "Posted" })], silences: [], outgoing: [{ labels: own, sent: there }] };
  const rows = toAlerts([down], manager);
  assert.deepEqual(rows.map((row) => [row.state, row.severity, row.fingerprint, row.receivers]), [
    ["firing", "info", "1", ["pager"]],
    ["firing", "", "2", ["pager"]],
  ]);
});

test("the chip says the worst", () => {
  const told = (failing) => ({ attempts: [], notifies: true, failing });
  const base = { state: "ready", error: null, managerError: null, heartbeat: "fires", told: null };
  const rows = (...states) => states.map((state) => ({ state, severity: "" }));
  const of = (...severities) => severities.map((severity) => ({ state: "firing", severity }));
  const cases = [
    [{ ...base, state: "loading", rows: [] }, "loading", "Alerts loading"],
    [{ ...base, state: "error", rows: rows("firing") }, "unknown", "Alerts unknown"],
    [{ ...base, rows: rows("firing", "firing", "silenced") }, "firing", "2 firing"],
    [{ ...base, rows: rows("firing"), told: told([{}]) }, "firing", "1 firing", "notifying fails"],
    [{ ...base, rows: of("critical") }, "firing", "1 firing", "critical"],
    [{ ...base, rows: of("critical", "critical") }, "firing", "2 firing", "all critical"],
    [{ ...base, rows: of("warning", "Critical", "info", "sev1", "") }, "firing", "5 firing", "1 critical, 1 warning, 1 info, 2 other"],
    [{ ...base, rows: of("warning"), managerError: "away" }, "firing", "1 firing", "warning, others unknown"],
    [{ ...base, rows: rows("inactive"), managerError: "away" }, "unknown", "Alerts unknown"],
    [{ ...base, rows: rows("inactive", "pending"), error: "away" }, "unknown", "Alerts unknown", "1 pending"],
    [{ ...base, rows: rows("silenced"), error: "away" }, "unknown", "Alerts unknown"],
    [{ ...base, rows: rows("error"), managerError: "away" }, "error", "Rules fail"],
    [{ ...base, rows: rows("inactive", "unknown") }, "unknown", "Rules not evaluated yet"],
    [{ ...base, rows: rows("pending", "unknown") }, "pending", "1 pending"],
    [{ ...base, rows: rows("pending"), told: told([{}]) }, "error", "Notifying fails"],
    [{ ...base, rows: rows("pending", "error") }, "error", "Rules fail"],
    [{ ...base, rows: rows("error") }, "error", "Rules fail"],
    [{ ...base, rows: rows("silenced"), heartbeat: "missing" }, "error", "No heartbeat"],
    [{ ...base, rows: rows("silenced", "inactive"), told: told([]) }, "silenced", "1 silenced"],
    [{ ...base, rows: rows("silenced", "muted") }, "silenced", "2 silenced"],
    [{ ...base, rows: rows("muted") }, "silenced", "1 muted"],
    [{ ...base, rows: rows("inactive") }, "inactive", "No alerts"],
    [{ ...base, rows: [] }, "none", "No alert rules"],
  ];
  for (const [alerts, state, text, detail = ""] of cases) assert.deepEqual(verdict(alerts), { state, text, detail });
});

test("a receiver fails when its last attempt did", () => {
  const attempts = [
    { receiver: "a", integration: "slack[0]", outcome: "ok" },
    { receiver: "a", integration: "email[0]", outcome: "failed", error: "new" },
    { receiver: "a", integration: "slack[0]", outcome: "failed" },
    { receiver: "a", integration: "email[0]", outcome: "failed", error: "old" },
    { receiver: "gone", integration: "slack[0]", outcome: "failed" },
  ];
  assert.deepEqual(failingOf(attempts).map((a) => [a.receiver, a.error]), [["a", "new"], ["gone", undefined]]);
  assert.deepEqual(failingOf(attempts, ["a"]).map((a) => a.error), ["new"]);
});

test("attempts, labels and matchers in words", () => {
  const of = (name, status) => ({ labels: { alertname: name }, status });
  assert.equal(tellAttempt({ alerts: [of("A", "firing")], alerts_total: 1 }), "A");
  assert.equal(tellAttempt({ alerts: [of("A", "resolved")], alerts_total: 1, test: true }), "test: A resolved");
  assert.equal(tellAttempt({ alerts: [of("A", "firing"), of("A", "resolved"), of("B"), of("C")], alerts_total: 400 }), "A, B and 1 more (400 alerts)");
  assert.equal(tellAttempt({}), "");
  assert.equal(tellLabels({ alertname: "A", severity: "critical", host: 'a"b' }), 'host="a\\"b"');
  assert.ok(tellLabels({ host: "x".repeat(1e6) }).length < 500);
  const matcher = (isRegex, isEqual) => ({ name: "n", value: "v", isRegex, isEqual });
  assert.equal(
    tellMatchers({ matchers: [matcher(false), matcher(false, false), matcher(true, true), matcher(true, false)] }),
    'n="v", n!="v", n=~"v", n!~"v"',
  );
});

test("a silence holds for one alert, and refusals come in the server's words", async (t) => {
  const answer = (status, body) => t.mock.method(globalThis, "fetch", async () => new Response(body, { status }));
  const client = createClient("http://host/prefix/");
  const signal = new AbortController().signal;
  const fetched = answer(200, '{"silenceID":"x"}');
  const sent = [
    { name: "alertname", value: "A", isRegex: false, isEqual: true },
    { name: "host", value: "a.*", isRegex: true, isEqual: false },
  ];
  await client.silence(sent, 3600, "why", signal);
  const [url, init] = fetched.mock.calls[0].arguments;
  const { matchers, startsAt, endsAt, ...rest } = JSON.parse(init.body);
  assert.equal(`${init.method} ${url} ${init.headers["Content-Type"]}`, "POST http://host/prefix/api/v2/silences application/json");
  assert.deepEqual(matchers, sent);
  assert.equal(Date.parse(endsAt) - Date.parse(startsAt), 3_600_000);
  assert.deepEqual(rest, { createdBy: "page", comment: "why" });

  for (const [status, body, message] of [
    [400, '"bad matcher"', /^bad matcher$/],
    [422, '{"code":602,"message":"endsAt in body is required"}', /^endsAt in body/],
    [503, '{"error":"not ready","request_id":"x"}', /^not ready$/],
    [404, "", /HTTP 404/],
  ]) {
    answer(status, body);
    await assert.rejects(client.endSilence("../x", signal), (e) => e instanceof ApiError && message.test(e.message), body);
  }
  assert.equal(String(fetch.mock.calls[0].arguments[0]), "http://host/prefix/api/v2/silence/..%2Fx");

  for (const body of ["null", "{}", "[null]", "[{}]", '[{"alerts":{}}]', '[{"alerts":[null]}]', '[{"alerts":[{"labels":{}}]}]']) {
    answer(200, body);
    await assert.rejects(client.manager(signal), ApiError, body);
  }
  answer(200, '{"notifications":[]}');
  assert.deepEqual(await client.notifications(signal), { attempts: [], notifies: true });
  answer(200, '{"notifications":null}');
  await assert.rejects(client.notifications(signal), ApiError);
});

test("an alert in several groups is muted when all of them are", async (t) => {
  const alert = (fingerprint, ...mutedBy) => ({ fingerprint, labels: {}, status: { mutedBy } });
  const groups = [{ alerts: [alert("1", "a"), alert("2", "a"), alert("3")] }, { alerts: [alert("1"), alert("2", "b")] }, { alerts: [alert("3", "c")] }];
  t.mock.method(globalThis, "fetch", async (url) => new Response(String(url).includes("/groups") ? JSON.stringify(groups) : "[]"));
  const { alerts } = await createClient("http://host/").manager(new AbortController().signal);
  assert.deepEqual(alerts.map((a) => [a.fingerprint, a.status.mutedBy.length]), [["1", 0], ["2", 1], ["3", 0]]);
});

test("a silence begins by the server's clock", async (t) => {
  for (const hours of [-2, 0, 2]) {
    const server = Date.now() + hours * 3_600_000;
    const fetched = t.mock.method(globalThis, "fetch", async () => new Response("{}", { headers: { Date: new Date(server).toUTCString() } }));
    const client = createClient("http://host/");
    const signal = new AbortController().signal;
    await client.endSilence("x", signal);
    await client.silence({}, 3600, "", signal);
    const { startsAt, endsAt } = JSON.parse(fetched.mock.calls[1].arguments[1].body);
    assert.ok(Math.abs(Date.parse(startsAt) - server) < 10_000, `${hours} h`);
    assert.equal(Date.parse(endsAt) - Date.parse(startsAt), 3_600_000);
    assert.equal(client.ahead() === 0, hours === 0, "the header's whole seconds are no difference");
  }
});

test("answers of the server", async (t) => {
  const answer = (status, body) => t.mock.method(globalThis, "fetch", async () => new Response(body, { status }));
  const client = createClient("http://host/prefix/");
  const signal = new AbortController().signal;
  const cases = [
    ["an error of PromQL", 422, '{"status":"error","errorType":"execution","error":"too many samples"}', "refused", /too many samples/],
    ["an error of ours", 503, '{"error":"shutting down","request_id":"x"}', "refused", /shutting down/],
    ["a proxy", 502, "<html>Bad Gateway</html>", "unreachable", /502/],
    ["no key", 401, '{"error":"unauthorized"}', "denied", /key/],
    ["something else", 200, "<html>", "refused", /HTTP 200/],
    ["another type", 200, '{"status":"success","data":{"resultType":"scalar","result":[0,"1"]}}', "refused", /scalar/],
  ];
  for (const [name, status, body, kind, message] of cases) {
    answer(status, body);
    await assert.rejects(client.instant("up", signal), (e) => e instanceof ApiError && e.kind === kind && message.test(e.message), name);
  }
  const fetched = answer(200, '{"status":"success","data":{"resultType":"vector","result":[]}}');
  assert.deepEqual(await client.instant("up", signal), []);
  assert.match(String(fetched.mock.calls[0].arguments[0]), /^http:\/\/host\/prefix\/api\/v1\/query\?query=up&/);

  answer(503, '{"status":"error","checks":{}}');
  assert.equal((await client.health(signal)).status, "error", "an ill Hancock still answers");
});

test("an aborted question rejects with its reason", async (t) => {
  t.mock.method(globalThis, "fetch", async (_, { signal }) => {
    signal.throwIfAborted();
    return new Response("{}");
  });
  const gone = AbortSignal.abort("changed");
  await assert.rejects(createClient("http://host/").instant("up", gone), (e) => e === "changed");
});

test("a silence shows how many alerts it matches, and warns if these are all", () => {
  const alert = (fingerprint, ...silencedBy) => active(fingerprint, { alertname: fingerprint }, { silencedBy });
  const cases = [
    [[], "0 alerts", false],
    [[alert("1")], "0 alerts", false],
    [[alert("1", "s")], "1 alert", false],
    [[alert("1", "s"), alert("2", "other")], "1 alert", false],
    [[alert("1", "s"), alert("2", "s", "other"), alert("3")], "2 alerts", false],
    [[alert("1", "s"), alert("2", "other", "s")], "Silences all 2 alerts.", true],
  ];
  for (const [alerts, text, all] of cases) assert.deepEqual(tellReach({ id: "s" }, alerts), { text, all });
});
