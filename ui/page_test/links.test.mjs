// Tests of what links ask for: those of Alertmanager's page and those to an expression.

import assert from "node:assert/strict";
import { test } from "node:test";
import { parseLink } from "../page/link.js";
import { formatMatchers, MatcherError, parseMatchers } from "../page/matchers.js";
import { formatExpressions, formatSpan, parseExpressions, parseMoment, parseSpan, positionOf } from "../page/views/expression.js";

test("links of Alertmanager's page", () => {
  const none = { filter: "", receiver: "", comment: "", id: "" };
  const filter = '{alertname="A b",x=~"y|z"}';
  const encoded = encodeURIComponent(filter);
  const cases = [
    ["#/alerts", { ...none, kind: "alerts" }],
    [`#/alerts?silenced=false&inhibited=false&muted=false&active=true&filter=${encoded}`, { ...none, kind: "alerts", filter }],
    ["#/alerts?receiver=team+%28a%29%2Bb", { ...none, kind: "alerts", receiver: "team (a)+b" }],
    [`#/alerts?filter=${filter}`, { ...none, kind: "alerts", filter }],
    ["#/silences", { ...none, kind: "alerts" }],
    [`#/silences?filter=${encoded}`, { ...none, kind: "alerts", filter }],
    [`#/silences/new?filter=${encoded}&comment=why%3F`, { ...none, kind: "new", filter, comment: "why?" }],
    ["#/silences/3f2a-77", { ...none, kind: "silence", id: "3f2a-77" }],
    ["#/silences/3f2a-77/edit", { ...none, kind: "silence", id: "3f2a-77" }],
    ["#/silences/%E0%A4%A", { ...none, kind: "silence", id: "%E0%A4%A" }],
    ["#/alertsx", null],
    ["#/status", null],
    ["#range=1h", null],
    ["", null],
  ];
  for (const [hash, want] of cases) assert.deepEqual(parseLink(hash), want, hash);
});

test("matchers and the place where they are wrong", () => {
  const matcher = (name, value, isRegex, isEqual) => ({ name, value, isRegex, isEqual });
  assert.deepEqual(parseMatchers('{a="b", "c.d"!="e", f=~g, h!~"i|\\"j"}'), [
    matcher("a", "b", false, true),
    matcher("c.d", "e", false, false),
    matcher("f", "g", true, true),
    matcher("h", 'i|"j', true, false),
  ]);
  for (const [text, place] of [["{a", 3], ['a="b', 3], ["a=b c=d", 5], ["{a=b}}", 6], ["{a=b", 5], ["=b", 1]]) {
    assert.throws(() => parseMatchers(text), (e) => e instanceof MatcherError && e.message.startsWith(`position ${place}: `), text);
  }
  for (const text of ['{}', '{a="b"}', '{"c.d"=~"e\\\\.\\"f", g!="h\\ni"}']) assert.equal(formatMatchers(parseMatchers(text)), text);
});

test("links to expressions, of both versions of Prometheus' page", () => {
  const one = { expr: "", range: "1h", end: "", table: false };
  const cases = [
    ["", [one]],
    ["?g0.expr=up+%3D%3D+0&g0.tab=1", [{ ...one, expr: "up == 0", table: true }]],
    ["?g0.expr=up&g0.tab=table&g0.range_input=1d12h&g0.end_input=2026-01-02%2003%3A04%3A05", [{ expr: "up", range: "1d12h", end: "2026-01-02 03:04:05", table: true }]],
    ["?g0.expr=up&g0.moment_input=2026-01-02 03:04", [{ ...one, expr: "up", end: "2026-01-02 03:04" }]],
    ["?g0.expr=up&g0.range_input=x&g0.end_input=y", [{ ...one, expr: "up" }]],
    ["?g1.expr=b&g0.expr=a&g10.expr=c&gx.expr=d", ["a", "b", "c"].map((expr) => ({ ...one, expr }))],
    [`?${Array.from({ length: 50 }, (_, i) => `g${i}.expr=${i}`).join("&")}`, Array.from({ length: 20 }, (_, i) => ({ ...one, expr: String(i) }))],
  ];
  for (const [search, want] of cases) {
    assert.deepEqual(parseExpressions(search), want, search);
    assert.deepEqual(parseExpressions(`?${formatExpressions(want)}`), want, "and back");
  }
});

test("durations, times and places", () => {
  for (const [text, want] of [["1h", 3600], ["1d12h", 129_600], ["90m", 5400], ["1w", 604_800], ["1500ms", 1.5], ["0s", null], ["1", null], ["-1h", null], ["1h ", null], ["9999999y", null]])
    assert.equal(parseSpan(text), want, text);
  for (const [seconds, want] of [[3600, "1h"], [129_600, "1d12h"], [0.2, "1s"], [5400.4, "1h30m"]]) assert.equal(formatSpan(seconds), want);
  const at = Date.UTC(2026, 0, 2, 3, 4, 5) / 1000;
  for (const text of ["2026-01-02 03:04:05", "2026-01-02T03:04:05Z", "2026-01-02T04:04:05+01:00", " 2026-01-02 03:04:05.000 "]) assert.equal(parseMoment(text), at, text);
  for (const text of ["", "now", "2026-13-01 00:00", "12:00"]) assert.equal(parseMoment(text), null, text);
  assert.deepEqual(positionOf('invalid parameter "query": 2:7: parse error: unexpected x', "a\nää bc"), { line: 2, column: 5, text: "unexpected x", before: "ää b", at: "c", after: "" });
  assert.equal(positionOf("1:99: parse error: unexpected end of input", "up(").column, 4);
  assert.equal(positionOf("query timed out", "up"), null);
});
