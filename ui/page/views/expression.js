// What stands in a link to an expression, as Prometheus' page writes it, and where an expression is wrong.

/**
 * @typedef {object} Expression
 * @property {string} expr
 * @property {string} range as Prometheus writes durations
 * @property {string} end in UTC, or empty for now
 * @property {boolean} table the table comes before the chart
 */

/** Most expressions of one link. */
const most = 20;

/** @type {Record<string, number>} */
const units = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86_400, w: 604_800, y: 31_536_000 };

const defaultRange = "1h";

/**
 * @param {string} search of the address: g0.expr, g0.range_input, g0.end_input, g0.tab, g1.expr …
 * @returns {Expression[]} at least one
 */
export function parseExpressions(search) {
  const params = new URLSearchParams(search);
  const numbers = [...new Set([...params.keys()].flatMap((key) => /^g(\d{1,4})\.expr$/.exec(key)?.[1] ?? []))];
  const found = numbers
    .sort((a, b) => Number(a) - Number(b))
    .slice(0, most)
    .map((n) => {
      const get = (/** @type {string} */ name) => (params.get(`g${n}.${name}`) ?? "").trim();
      const range = get("range_input");
      return {
        expr: params.get(`g${n}.expr`) ?? "",
        range: parseSpan(range) === null ? defaultRange : range,
        end: [get("end_input"), get("moment_input")].find((text) => parseMoment(text) !== null) ?? "",
        table: ["1", "table"].includes(get("tab")),
      };
    });
  return found.length > 0 ? found : [{ expr: "", range: defaultRange, end: "", table: false }];
}

/** @param {Expression[]} expressions */
export function formatExpressions(expressions) {
  const params = new URLSearchParams();
  expressions.forEach(({ expr, range, end, table }, i) => {
    params.set(`g${i}.expr`, expr);
    params.set(`g${i}.tab`, table ? "table" : "graph");
    params.set(`g${i}.range_input`, range);
    if (end !== "") {
      params.set(`g${i}.end_input`, end);
      params.set(`g${i}.moment_input`, end);
    }
  });
  return params.toString();
}

/**
 * @param {string} text such as 1h, 1d12h or 90m
 * @returns {number | null} seconds
 */
export function parseSpan(text) {
  if (!/^(?:\d{1,9}(?:ms|[smhdwy]))+$/.test(text)) return null;
  let seconds = 0;
  for (const [, number, unit] of text.matchAll(/(\d+)(ms|[smhdwy])/g)) seconds += Number(number) * (units[unit ?? ""] ?? 0);
  return seconds >= 1 && seconds <= 1e10 ? seconds : null;
}

/** @param {number} seconds */
export function formatSpan(seconds) {
  let rest = Math.max(1, Math.round(seconds));
  let text = "";
  for (const unit of ["w", "d", "h", "m", "s"]) {
    const size = units[unit] ?? 1;
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) text += `${count}${unit}`;
  }
  return text;
}

/**
 * @param {string} text a time in UTC such as 2026-01-31 12:00:00, with or without seconds, or a time with its zone
 * @returns {number | null} Unix seconds
 */
export function parseMoment(text) {
  const [, date, clock, zone] = /^(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d(?::\d\d(?:\.\d+)?)?))?\s*(Z|[+-]\d\d:?\d\d)?$/.exec(text.trim()) ?? [];
  const at = date === undefined ? Number.NaN : Date.parse(`${date}T${clock ?? "00:00"}${zone ?? "Z"}`);
  return Number.isNaN(at) ? null : at / 1000;
}

/** @param {number} time Unix seconds */
export function formatMoment(time) {
  return new Date(time * 1000).toISOString().slice(0, 19).replace("T", " ");
}

/**
 * Where an expression is wrong. Prometheus counts bytes.
 * @param {string} message of Prometheus
 * @param {string} expr
 * @returns {{line: number, column: number, text: string, before: string, at: string, after: string} | null}
 *   the line around the position; null when the message names none
 */
export function positionOf(message, expr) {
  const [, line, column, text] = /(\d+):(\d+): parse error: (.+)$/s.exec(message) ?? [];
  if (line === undefined || column === undefined || text === undefined) return null;
  const source = expr.split("\n")[Number(line) - 1] ?? "";
  const bytes = new TextEncoder().encode(source);
  // A position within a character is that of the character.
  const before = new TextDecoder().decode(bytes.slice(0, Number(column) - 1)).replace(/\ufffd$/, "");
  const at = [...source.slice(before.length)][0] ?? "";
  return { line: Number(line), column: [...before].length + 1, text, before, at, after: source.slice(before.length + at.length) };
}
