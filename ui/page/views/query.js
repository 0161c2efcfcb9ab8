// The view of expressions: text, chart and table. A link may bring an expression. It runs at once if the link is on a page
// of this server, or if it ran here before; otherwise the reader has to say so.

import { signal, useSignal } from "../../third_party/signals.js";
import { useEffect, useRef, useState } from "../../third_party/preact-hooks.js";
import { clip } from "../alerts.js";
import { toApiError } from "../api.js";
import { Chart } from "../chart.js";
import { formatTime } from "../format.js";
import { html } from "../html.js";
import { gridOf } from "../range.js";
import { titleOf, toFrame } from "../series.js";
import { formatExpressions, formatMoment, formatSpan, parseExpressions, parseMoment, parseSpan, positionOf } from "./expression.js";

/** @import {Frame, Labels, MatrixSeries, Panel, View as ViewType} from "../types.js" */
/** @import {ApiError, Client} from "../api.js" */
/** @import {ChartStore} from "../chart.js" */
/** @import {Signal} from "../../third_party/signals.js" */
/** @import {Store} from "../store.js" */
/** @import {Theme} from "../theme.js" */
/** @import {Expression} from "./expression.js" */

/** Most rows of a table, and most values of one row. */
const mostRows = 200;
const mostValues = 5;

/**
 * @typedef {object} Result
 * @property {number} at Unix seconds
 * @property {string} type of the value
 * @property {[string, string][]} rows series and value
 * @property {number} hidden rows that are not shown
 * @property {string[]} warnings
 * @property {Frame | null} frame
 * @property {string} undrawn why there is no chart
 */

/** @type {ViewType} */
export function View({ client, store, theme }) {
  const [expressions] = useState(() => parseExpressions(location.search).map((e) => signal(e)));
  const [own] = useState(fromOwnPage);
  // What ran is kept with the entry of the history, which no other page can write, for a reload or a return to it.
  const [ran] = useState(() => /** @type {Record<string, string>} */ ({ ...history.state?.ran }));
  const keep = () => history.replaceState({ ran }, "", `?${formatExpressions(expressions.map((e) => e.value))}${location.hash}`);
  return html`
    <section class="view" data-view="query" aria-labelledby="view-title">
      <h2 id="view-title">Expression</h2>
      ${expressions.map((expression, i) => html`<${ExpressionPanel} key=${i} expression=${expression} own=${own} name=${String(i)} ran=${ran} keep=${keep} client=${client} store=${store} theme=${theme} />`)}
    </section>
  `;
}

/** Whether a link on a page of this server led here. Without a referrer nobody knows. */
function fromOwnPage() {
  return document.referrer.startsWith(`${location.origin}/`);
}

/**
 * @param {{expression: Signal<Expression>, own: boolean, name: string, ran: Record<string, string>, keep: () => void,
 *   client: Client, store: Store, theme: Signal<Theme>}} props own: the link is on a page of this server; ran: what ran, by name
 */
function ExpressionPanel({ expression, own, name, ran, keep, client, store, theme }) {
  const result = useSignal(/** @type {Result | null} */ (null));
  const error = useSignal(/** @type {{message: string, expr: string} | null} */ (null));
  const busy = useSignal(false);
  const running = useRef(new AbortController());
  const width = useRef(800);
  const initial = useRef(expression.peek());
  const { expr, range, end, table } = expression.value;
  const change = (/** @type {Partial<Expression>} */ part) => (expression.value = { ...expression.value, ...part });

  async function run() {
    const now = expression.peek();
    running.current.abort();
    const abort = new AbortController();
    running.current = abort;
    const seconds = parseSpan(now.range.trim());
    const to = now.end.trim() === "" ? Math.floor(client.now() / 1000) : parseMoment(now.end);
    const fail = (/** @type {string} */ message) => {
      if (abort.signal.aborted) return;
      error.value = { message, expr: now.expr };
      result.value = null;
      busy.value = false;
    };
    if (now.expr.trim() === "") return fail("The expression is empty.");
    if (seconds === null) return fail(`The range is not a duration such as 1h or 1d12h: ${now.range}`);
    if (to === null) return fail(`The end is not a time such as ${formatMoment(client.now() / 1000)}: ${now.end}`);
    busy.value = true;
    ran[name] = formatExpressions([now]);
    keep();
    try {
      const found = await evaluate(client, now.expr, to, seconds, width.current, abort.signal);
      if (abort.signal.aborted) return;
      result.value = found;
      error.value = null;
      busy.value = false;
      store.said.value = found.rows.length === 0 ? "The result is empty." : `${found.rows.length} rows.`;
    } catch (cause) {
      fail(toApiError(cause).message);
    }
  }

  useEffect(() => {
    const linked = initial.current;
    if (linked.expr.trim() !== "" && (own || ran[name] === formatExpressions([linked]))) void run();
  }, []);

  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    void run();
  };
  const onKey = (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    submit(event);
  };
  const input = (/** @type {"expr" | "range" | "end"} */ name) => (/** @type {Event} */ event) =>
    change({ [name]: /** @type {HTMLInputElement} */ (event.currentTarget).value });

  /** @type {ChartStore} */
  const chart = {
    said: store.said,
    usual: signal("1h"),
    setPlotWidth: (pixels) => (width.current = pixels),
    setRange(next) {
      if ("from" in next) change({ range: formatSpan(next.to - next.from), end: formatMoment(next.to) });
      else change({ range: initial.current.range, end: initial.current.end });
      void run();
    },
  };
  const shown = result.value;
  const parts = shown === null ? [] : [html`<${Drawing} key="chart" result=${shown} chart=${chart} theme=${theme} />`, html`<${Table} key="table" result=${shown} />`];
  return html`
    <form class="panel expression" data-expression onSubmit=${submit}>
      <label class="whole">
        <span class="visually-hidden">PromQL expression</span>
        <textarea
          name="expr"
          rows=${Math.min(12, Math.max(2, expr.split("\n").length, Math.ceil(expr.length / 100)))}
          spellcheck=${false}
          placeholder="PromQL, for example rate(hancock_requests_total[5m])"
          value=${expr}
          onInput=${input("expr")}
          onKeyDown=${onKey}
        ></textarea>
      </label>
      <label>Range <input name="range" size="7" autocomplete="off" value=${range} onInput=${input("range")} /></label>
      <label>End (UTC) <input name="end" size="20" autocomplete="off" placeholder="now" value=${end} onInput=${input("end")} /></label>
      <button class="chip primary" data-run aria-busy=${busy.value}>${busy.value ? "Running…" : "Run"}</button>
      ${shown === null && error.value === null && html`<p class="note whole" data-idle>${initial.current.expr === "" ? "" : "The expression is from a link. "}It runs when you press Run (Ctrl+Enter).</p>`}
      ${error.value !== null && html`<${Failure} ...${error.value} />`}
      ${shown !== null && html`<div class="whole result" data-result=${shown.type} data-stale=${busy.value}>${table ? parts.reverse() : parts}</div>`}
    </form>
  `;
}

/**
 * Why it did not work and, where Prometheus says so, at which place.
 * @param {{message: string, expr: string}} props
 */
function Failure({ message, expr }) {
  const place = positionOf(message, expr);
  if (place === null) return html`<p class="panel-error whole" role="alert" data-error>${clip(message, 2000)}</p>`;
  const start = place.before.length > 80 ? `…${place.before.slice(-80)}` : place.before;
  return html`
    <div class="panel-error whole" role="alert" data-error>
      <p>Line ${place.line}, column ${place.column}: ${clip(place.text, 2000)}</p>
      <code class="excerpt">${start}<mark data-position=${`${place.line}:${place.column}`}>${place.at || " "}</mark>${clip(place.after, 80)}</code>
    </div>
  `;
}

/** @param {{result: Result, chart: ChartStore, theme: Signal<Theme>}} props */
function Drawing({ result, chart, theme }) {
  if (result.frame === null) return html`<p class="note" data-undrawn>No chart: ${result.undrawn}</p>`;
  if (result.frame.series.length === 0) return html`<p class="note" data-undrawn>The expression has no result in this range.</p>`;
  return html`<div class="drawing"><${Chart} panel=${panel} frame=${result.frame} store=${chart} theme=${theme} /></div>`;
}

/** @param {{result: Result}} props */
function Table({ result }) {
  return html`
    <div>
      <p class="note">${result.type === "vector" ? "Instant vector" : result.type} at ${formatTime(result.at)}</p>
      ${result.warnings.map((text, i) => html`<p class="warn" key=${i}>${clip(text)}</p>`)}
      ${
        result.rows.length === 0
          ? html`<p class="note" data-empty>The result is empty: no series matches at this time.</p>`
          : html`
            <div class="scroll">
              <table>
                <thead><tr><th scope="col">Series</th><th scope="col" class="number">Value</th></tr></thead>
                <tbody>${result.rows.map(([name, value], i) => html`<tr key=${i} data-row><td><code>${name}</code></td><td class="number">${value}</td></tr>`)}</tbody>
              </table>
            </div>
          `
      }
      ${result.hidden > 0 && html`<p class="note">And ${result.hidden} more.</p>`}
    </div>
  `;
}

/** @type {Panel} */
const panel = { name: "Result", kind: "timeseries", query: "", unit: "number", legend: "", description: "" };

/**
 * @param {Client} client
 * @param {string} query
 * @param {number} to Unix seconds
 * @param {number} seconds
 * @param {number} width of the chart
 * @param {AbortSignal} abort
 * @returns {Promise<Result>}
 */
async function evaluate(client, query, to, seconds, width, abort) {
  const { step } = gridOf({ from: to - seconds, to }, to, width);
  // Unlike the dashboard's charts, which are renewed all the time, this one ends where the table is of.
  const grid = { start: to - Math.floor(seconds / step) * step, end: to, step };
  const bounds = { query, limit: String(mostRows), timeout: "15s" };
  const [instant, range] = await Promise.all([
    client.prometheus("query", { ...bounds, time: String(to) }, abort),
    client.prometheus("query_range", { ...bounds, start: String(grid.start), end: String(grid.end), step: String(grid.step) }, abort).catch(
      (/** @type {ApiError} */ cause) => cause,
    ),
  ]);
  const { resultType, result } = instant.data;
  const rows = toRows(resultType, result);
  const drawn = range instanceof Error ? null : toFrame(panel, /** @type {MatrixSeries[]} */ (range.data.result), grid);
  return {
    at: to,
    type: String(resultType),
    rows: rows.slice(0, mostRows),
    hidden: Math.max(0, rows.length - mostRows),
    warnings: [...new Set([...instant.warnings, ...(range instanceof Error ? [] : range.warnings)])],
    // Nothing is known of what the series mean, so they are called by all that they have.
    frame: drawn && { ...drawn, series: drawn.series.map((s) => ({ ...s, label: clip(s.title) })) },
    undrawn: range instanceof Error ? range.message : "",
  };
}

/**
 * @param {string} type
 * @param {any} result
 * @returns {[string, string][]}
 */
function toRows(type, result) {
  if (type === "scalar" || type === "string") return [[type, clip(String(result[1]), 2000)]];
  return /** @type {any[]} */ (result).map((sample) => [clip(titleOf(/** @type {Labels} */ (sample.metric)), 1000), valueOf(sample)]);
}

/** @param {any} sample of a vector or a matrix */
function valueOf(sample) {
  if (sample.value) return String(sample.value[1]);
  if (sample.histogram) return tellHistogram(sample.histogram[1]);
  const values = /** @type {[number, any][]} */ (sample.values ?? sample.histograms ?? []);
  const last = values.slice(-mostValues).map(([time, value]) => `${typeof value === "string" ? value : tellHistogram(value)} @ ${formatTime(time)}`);
  return `${values.length > mostValues ? `${values.length} values, last ` : ""}${last.join(", ")}`;
}

/** @param {{count?: string, sum?: string}} histogram */
function tellHistogram({ count, sum }) {
  return `histogram: count ${count}, sum ${sum}`;
}
