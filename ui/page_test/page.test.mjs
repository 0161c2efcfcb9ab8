// Tests of the page's modules that need no browser. Run: node --test ui/page_test/

import assert from "node:assert/strict";
import { test } from "node:test";
import { toAlerts } from "../page/alerts.js";
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
