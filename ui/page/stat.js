// A number and, behind it, the way it came.

import { formatStat } from "./format.js";
import { html } from "./html.js";
import { styleOf } from "./plot.js";

/** @import {Frame, Panel, Stat} from "./types.js" */

const width = 240;
const height = 44;

/** Most numbers of one panel. */
const most = 6;

/** @param {{panel: Panel, stats: Stat[], frame: Frame | null}} props */
export function StatView({ panel, stats, frame }) {
  const alone = stats.length === 1;
  return html`
    <div class="stats" data-many=${!alone}>
      ${stats.slice(0, most).map((stat) => {
        const [number, unit] = formatStat(stat.value, panel.unit);
        return html`
          <p key=${stat.title} class="stat" title=${stat.title} data-severity=${severityOf(panel, stat.value)}>
            <span class="stat-number" data-value=${stat.value}>${number}${unit !== "" && html` <small>${unit}</small>`}</span>
            ${!alone && html`<span class="muted" data-series=${stat.label}>${stat.label}</span>`}
          </p>
        `;
      })}
      ${stats.length > most && html`<p class="note">and ${stats.length - most} more</p>`}
    </div>
    ${alone && frame !== null && html`<${Sparkline} panel=${panel} frame=${frame} />`}
  `;
}

/**
 * @param {Panel} panel
 * @param {number | null} value
 */
function severityOf(panel, value) {
  return (panel.thresholds ?? []).findLast((t) => value !== null && value >= t.value)?.severity;
}

/** @param {{panel: Panel, frame: Frame}} props */
function Sparkline({ panel, frame }) {
  const all = frame.series.flatMap((s) => s.values.filter((v) => v !== null));
  const top = all.reduce((a, b) => Math.max(a, b), 0) || 1;
  return html`
    <svg class="spark" viewBox=${`0 0 ${width} ${height}`} preserveAspectRatio="none" aria-hidden="true" style=${{ "--color": `var(${styleOf(panel, 0).color})` }}>
      ${frame.series.map((series) => {
        const { line, area } = paths(series.values, top);
        return html`<g key=${series.key}><path class="spark-area" d=${area} /><path class="spark-line" d=${line} vector-effect="non-scaling-stroke" /></g>`;
      })}
    </svg>
  `;
}

/**
 * Paths that stop at gaps and begin again after them.
 * @param {(number | null)[]} values
 * @param {number} top
 */
function paths(values, top) {
  const x = (/** @type {number} */ i) => ((i / Math.max(1, values.length - 1)) * width).toFixed(1);
  const y = (/** @type {number} */ v) => (height - 1 - (v / top) * (height - 3)).toFixed(1);
  let line = "";
  let area = "";
  let start = -1;
  for (let i = 0; i <= values.length; i++) {
    const value = values[i] ?? null;
    if (value !== null) {
      const point = `${x(i)} ${y(value)}`;
      area += start < 0 ? `M${x(i)} ${height}L${point}` : `L${point}`;
      line += `${start < 0 ? "M" : "L"}${point}`;
      if (start < 0) start = i;
    } else if (start >= 0) {
      area += `L${x(i - 1)} ${height}Z`;
      start = -1;
    }
  }
  return { line, area };
}
