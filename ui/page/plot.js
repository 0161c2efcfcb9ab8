// One uPlot chart: made for a set of series, fed with new data, destroyed when the set changes.

import uPlot from "../third_party/uplot.js";
import { axisSteps, formatTimes, formatValue } from "./format.js";

/** @import {Frame, Panel} from "./types.js" */

/** Colours of the palette in style.css; from then on they come again, with dashes. */
export const colors = 8;

const height = 200;
const font = '11px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';

/** @type {(number[] | undefined)[]} */
const dashes = [undefined, [6, 3], [2, 3], [10, 3, 2, 3], [4, 6]];

/**
 * @param {Panel} panel
 * @param {number} index of the series
 */
export function styleOf(panel, index) {
  const slot = (panel.color ?? 1) - 1 + index;
  return { color: `--series-${(slot % colors) + 1}`, dash: Math.floor(slot / colors) % dashes.length };
}

/** @param {string} name of a custom property that holds a colour */
function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/**
 * @typedef {object} PlotOptions
 * @property {Panel} panel
 * @property {Frame} frame
 * @property {(index: number | null) => void} onCursor index of a time, null when the cursor is gone
 * @property {(from: number, to: number) => void} onSelect a dragged range, in Unix seconds
 * @property {() => void} onReset
 */

/**
 * @param {HTMLElement} host
 * @param {PlotOptions} options
 */
export function createPlot(host, { panel, frame, onCursor, onSelect, onReset }) {
  /** @type {number | null} */
  let cursor = null;

  const plot = new uPlot(
    {
      width: Math.max(host.clientWidth, 50),
      height,
      legend: { show: false },
      padding: [8, 16, 0, 0],
      cursor: {
        drag: { x: true, y: false, setScale: false },
        focus: { prox: 12 },
        points: { size: 7 },
        sync: { key: "hancock", setSeries: false },
        bind: {
          dblclick: () => () => {
            onReset();
            return null;
          },
        },
      },
      focus: { alpha: 0.25 },
      scales: {
        x: { time: true, range: (u) => rangeOf(u) },
        y: { range: (_, min, max) => valueRange(min, max) },
      },
      axes: [
        {
          ...axisStyle(),
          size: 26,
          space: 70,
          values: (_, splits, __, ___, distance) => formatTimes(splits, distance),
        },
        {
          ...axisStyle(),
          incrs: axisSteps[panel.unit],
          size: (u, values) => labelWidth(u, values),
          space: 34,
          values: (_, splits) => splits.map((value) => formatValue(value, panel.unit)),
        },
      ],
      series: [{}, ...frame.series.map((_, i) => seriesStyle(panel, i, frame.series.length === 1))],
      hooks: {
        draw: [(u) => drawThresholds(u, panel)],
        setCursor: [
          (u) => {
            const next = u.cursor.left !== undefined && u.cursor.left >= 0 ? (u.cursor.idx ?? null) : null;
            if (next === cursor) return;
            cursor = next;
            onCursor(next);
          },
        ],
        setSelect: [
          (u) => {
            const { left, width } = u.select;
            if (width < 5) return;
            onSelect(u.posToVal(left, "x"), u.posToVal(left + width, "x"));
            u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          },
        ],
      },
    },
    columns(frame),
    host,
  );

  const resize = new ResizeObserver(() => {
    const width = host.clientWidth;
    if (width > 0 && width !== plot.width) plot.setSize({ width, height });
  });
  resize.observe(host);

  return {
    /** @param {Frame} next of the same series */
    setFrame(next) {
      frame = next;
      plot.setData(columns(next));
    },

    /** @param {boolean[]} shown */
    setShown(shown) {
      plot.batch(() => {
        shown.forEach((show, i) => {
          if (plot.series[i + 1]?.show !== show) plot.setSeries(i + 1, { show });
        });
      });
    },

    /**
     * Puts one series before the others; null puts all back.
     * @param {number | null} index
     */
    setFocus(index) {
      plot.setSeries(index === null ? null : index + 1, { focus: true });
    },

    /**
     * Moves the cursor by so many points, from the newest when there is none yet.
     * @param {number} by
     */
    moveCursor(by) {
      const last = plot.data[0].length - 1;
      const index = Math.max(0, Math.min(last, cursor === null ? last : cursor + by));
      const left = plot.valToPos(Number(plot.data[0][index]), "x");
      // The third argument, which the types do not know, tells the other charts.
      /** @type {any} */ (plot).setCursor({ left, top: 0 }, true, true);
    },

    clearCursor() {
      /** @type {any} */ (plot).setCursor({ left: -10, top: -10 }, true, true);
    },

    /** Draws again, in the colours of the theme. */
    redraw() {
      plot.redraw(false);
    },

    destroy() {
      resize.disconnect();
      plot.destroy();
    },
  };

  /**
   * The whole time that was asked for, also where nothing is stored.
   * @param {uPlot} u
   * @returns {[number, number]}
   */
  function rangeOf(u) {
    const times = u.data[0];
    const from = Number(times[0] ?? 0);
    return [from, Math.max(Number(times[times.length - 1] ?? 0), from + 1)];
  }
}

/**
 * From zero, since lengths are compared; below it only where values are.
 * @param {number} min
 * @param {number} max
 * @returns {[number, number]}
 */
function valueRange(min, max) {
  const low = min < 0 ? (uPlot.rangeNum(min, 0, 0.1, true)[0] ?? min) : 0;
  return [low, max > 0 ? (uPlot.rangeNum(0, max, 0.1, true)[1] ?? max) : low < 0 ? 0 : 1];
}

/** @param {Frame} frame */
function columns(frame) {
  return /** @type {uPlot.AlignedData} */ ([frame.times, ...frame.series.map((s) => s.values)]);
}

/** @returns {uPlot.Axis} */
function axisStyle() {
  return {
    font,
    gap: 6,
    stroke: () => css("--text-muted"),
    grid: { stroke: () => css("--grid"), width: 1 },
    ticks: { show: false },
  };
}

/**
 * @param {Panel} panel
 * @param {number} index
 * @param {boolean} alone
 * @returns {uPlot.Series}
 */
function seriesStyle(panel, index, alone) {
  const { color, dash } = styleOf(panel, index);
  /** @type {uPlot.Series} */
  const style = {
    stroke: () => css(color),
    width: 1.5,
    points: {
      show: false,
      size: 4,
      // A sample between two gaps has no line to be seen by.
      filter: (u, i) => lonely(/** @type {(number | null)[]} */ (u.data[i])),
    },
  };
  const pattern = dashes[dash];
  if (pattern) style.dash = pattern;
  if (alone) style.fill = () => `color-mix(in srgb, ${css(color)} 10%, transparent)`;
  return style;
}

/**
 * @param {(number | null)[]} values
 * @returns {number[] | null}
 */
function lonely(values) {
  const found = [];
  for (let i = 0; i < values.length; i++) {
    if (values[i] !== null && (values[i - 1] ?? null) === null && (values[i + 1] ?? null) === null) found.push(i);
  }
  return found.length > 0 ? found : null;
}

/**
 * @param {uPlot} u
 * @param {string[] | null} values
 */
function labelWidth(u, values) {
  u.ctx.save();
  u.ctx.font = font;
  const widest = Math.max(0, ...(values ?? []).map((text) => u.ctx.measureText(text).width));
  u.ctx.restore();
  return Math.ceil(widest) + 14;
}

/**
 * @param {uPlot} u
 * @param {Panel} panel
 */
function drawThresholds(u, panel) {
  for (const { value, severity } of panel.thresholds ?? []) {
    if (value > (u.scales.y?.max ?? 0)) continue;
    const y = Math.round(u.valToPos(value, "y", true));
    u.ctx.save();
    u.ctx.strokeStyle = css(`--${severity}`);
    u.ctx.lineWidth = uPlot.pxRatio;
    u.ctx.setLineDash([4 * uPlot.pxRatio, 4 * uPlot.pxRatio]);
    u.ctx.beginPath();
    u.ctx.moveTo(u.bbox.left, y);
    u.ctx.lineTo(u.bbox.left + u.bbox.width, y);
    u.ctx.stroke();
    u.ctx.restore();
  }
}
