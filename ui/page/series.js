// From the answers of Prometheus to what a panel draws.

import { parseValue } from "./format.js";

/** @import {Frame, Grid, Labels, MatrixSeries, Panel, Series, Stat, VectorSample} from "./types.js" */

/** More lines than this nobody can tell apart, and each costs memory in a page that is left open. */
export const mostSeries = 40;

/**
 * Puts every series on the grid. Where Prometheus gave no value, or none that can be drawn, there is a
 * null, and with it a gap in the line.
 * @param {Panel} panel
 * @param {MatrixSeries[]} matrix
 * @param {Grid} grid
 * @returns {Frame}
 */
export function toFrame(panel, matrix, grid) {
  const length = Math.floor((grid.end - grid.start) / grid.step) + 1;
  const times = Array.from({ length }, (_, i) => grid.start + i * grid.step);
  const names = nameSeries(panel.legend, matrix.map((s) => s.metric));
  /** @type {Series[]} */
  const series = matrix.map(({ metric, values = [] }, i) => {
    /** @type {(number | null)[]} */
    const column = new Array(length).fill(null);
    let last = null;
    for (const [time, text] of values) {
      const index = Math.round((time - grid.start) / grid.step);
      const value = parseValue(text);
      if (index < 0 || index >= length || !Number.isFinite(value)) continue;
      column[index] = value;
      last = value;
    }
    return { key: keyOf(metric), label: names[i] ?? "", title: titleOf(metric), values: column, last };
  });
  const drawn = series.filter((s) => s.last !== null).sort(byLabel);
  return { grid, times, series: drawn.slice(0, mostSeries), hidden: Math.max(0, drawn.length - mostSeries) };
}

/**
 * @param {Panel} panel
 * @param {VectorSample[]} vector
 * @returns {Stat[]}
 */
export function toStats(panel, vector) {
  const names = nameSeries(panel.legend, vector.map((s) => s.metric));
  return vector
    .map(({ metric, value }, i) => ({
      label: names[i] ?? "",
      title: titleOf(metric),
      value: value ? parseValue(value[1]) : null,
    }))
    .sort(byLabel)
    .slice(0, mostSeries);
}

const collator = new Intl.Collator("en", { numeric: true });

/**
 * @param {{label: string}} a
 * @param {{label: string}} b
 */
function byLabel(a, b) {
  return collator.compare(a.label, b.label);
}

/**
 * Fills the legend's {{label}} places. Series that would have the same name get what sets them apart:
 * two processes that write into one database, for example.
 * @param {string} legend
 * @param {Labels[]} metrics
 * @returns {string[]}
 */
export function nameSeries(legend, metrics) {
  const names = metrics.map((metric) => legend.replace(/\{\{(\w+)\}\}/g, (_, label) => (Object.hasOwn(metric, label) ? (metric[label] ?? "") : "")).trim());
  /** @type {Map<string, number[]>} */
  const groups = new Map();
  names.forEach((name, i) => {
    const members = groups.get(name);
    if (members) members.push(i);
    else groups.set(name, [i]);
  });
  for (const [name, members] of groups) {
    const labels = new Set(members.flatMap((i) => Object.keys(metrics[i] ?? {})));
    const telling = [...labels].filter((l) => new Set(members.map((i) => metrics[i]?.[l])).size > 1).sort();
    for (const i of members) {
      const extra = telling.map((l) => metrics[i]?.[l] ?? "").filter((v) => v !== "").join(", ");
      names[i] = [name, extra].filter((part) => part !== "").join(" · ") || "value";
    }
  }
  return names;
}

/** @param {Labels} metric */
function keyOf(metric) {
  return JSON.stringify(Object.entries(metric).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/**
 * The series in Prometheus' own notation.
 * @param {Labels} metric
 */
export function titleOf(metric) {
  const { __name__: name = "", ...labels } = metric;
  const simple = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(name);
  const pairs = Object.entries(labels).map(([l, v]) => `${/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(l) ? l : JSON.stringify(l)}=${JSON.stringify(v)}`);
  // A name that is no identifier stands in quotes among the labels.
  if (name !== "" && !simple) pairs.unshift(JSON.stringify(name));
  return `${simple ? name : ""}{${pairs.join(", ")}}`;
}
