// A chart and its legend.

import { useSignal } from "../third_party/signals.js";
import { useEffect, useLayoutEffect, useRef } from "../third_party/preact-hooks.js";
import { formatTime, formatValue } from "./format.js";
import { html } from "./html.js";
import { createPlot, styleOf } from "./plot.js";
import { fixedRange, lastRange } from "./range.js";

/** @import {Frame, Panel} from "./types.js" */
/** @import {Signal} from "../third_party/signals.js" */
/** @import {Store} from "./store.js" */
/** @import {Theme} from "./theme.js" */

/** @typedef {Pick<Store, "setPlotWidth" | "setRange" | "usual" | "said">} ChartStore what a chart needs of the page */

/** @param {{panel: Panel, frame: Frame, store: ChartStore, theme: Signal<Theme>}} props */
export function Chart({ panel, frame, store, theme }) {
  const host = useRef(/** @type {HTMLDivElement | null} */ (null));
  const plot = useRef(/** @type {ReturnType<typeof createPlot> | null} */ (null));
  const cursor = useSignal(/** @type {number | null} */ (null));
  /** Keys of the series that the reader switched off. */
  const off = useSignal(/** @type {ReadonlySet<string>} */ (new Set()));
  const identity = frame.series.map((s) => s.key).join("\n");
  const shown = frame.series.map((s) => !off.value.has(s.key));

  useLayoutEffect(() => {
    if (!host.current) return undefined;
    store.setPlotWidth(host.current.clientWidth);
    const made = createPlot(host.current, {
      panel,
      frame,
      onCursor: (index) => (cursor.value = index),
      onSelect: (from, to) => {
        const range = fixedRange(from, to);
        if (range) store.setRange(range);
      },
      onReset: () => store.setRange(lastRange(store.usual.value)),
    });
    plot.current = made;
    return () => {
      made.destroy();
      plot.current = null;
      cursor.value = null;
    };
  }, [identity, panel]);

  useEffect(() => plot.current?.setFrame(frame), [frame]);
  useEffect(() => plot.current?.setShown(shown), [shown.join(), identity]);
  useEffect(() => plot.current?.redraw(), [theme.value]);

  /** @param {KeyboardEvent} event */
  const onKey = (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -1e6, End: 1e6 }[event.key];
    if (by !== undefined) {
      plot.current?.moveCursor(by);
      store.said.value = reading(panel, frame, cursor.peek());
    } else if (event.key === "Escape") plot.current?.clearCursor();
    else return;
    event.preventDefault();
  };

  return html`
    <div
      class="plot"
      ref=${host}
      tabindex="0"
      role="group"
      aria-roledescription="chart"
      aria-label=${`${panel.name}, ${frame.series.length} series. Arrow keys move the cursor; the values stand below.`}
      onKeyDown=${onKey}
      onBlur=${() => plot.current?.clearCursor()}
    ></div>
    <${Legend}
      panel=${panel}
      frame=${frame}
      cursor=${cursor}
      off=${off}
      onFocus=${(/** @type {number | null} */ index) => plot.current?.setFocus(index)}
    />
  `;
}

/** Most series that are read out. */
const mostRead = 5;

/**
 * What stands under the cursor, for those who hear it.
 * @param {Panel} panel
 * @param {Frame} frame
 * @param {number | null} index
 */
function reading(panel, frame, index) {
  if (index === null) return "";
  const values = frame.series.slice(0, mostRead).map((s) => `${s.label} ${formatValue(s.values[index], panel.unit)}`);
  return `${formatTime(frame.times[index] ?? 0)}: ${values.join(", ")}`;
}

/**
 * @param {{panel: Panel, frame: Frame, cursor: Signal<number | null>, off: Signal<ReadonlySet<string>>,
 *   onFocus: (index: number | null) => void}} props
 */
function Legend({ panel, frame, cursor, off, onFocus }) {
  const index = cursor.value;
  const time = index === null ? undefined : frame.times[index];
  // With a coarse step the newest point may be an hour old.
  const newest = frame.grid.step <= 60 ? "latest" : `latest, ${formatTime(frame.grid.end)}`;

  /** @param {string} key */
  const toggle = (key) => {
    // Of series that are gone nothing is remembered.
    const next = new Set([...off.value].filter((k) => frame.series.some((s) => s.key === k)));
    if (!next.delete(key)) next.add(key);
    off.value = next;
  };

  return html`
    <div class="legend">
      <p class="legend-time" data-cursor=${time}>${time === undefined ? newest : formatTime(time)}</p>
      <ul data-many=${frame.series.length > 3}>
        ${frame.series.map((series, i) => {
          const { color, dash } = styleOf(panel, i);
          const value = index === null ? series.last : series.values[index];
          return html`
            <li key=${series.key}>
              <button
                type="button"
                data-series=${series.label}
                aria-pressed=${!off.value.has(series.key)}
                title=${series.title}
                onClick=${() => toggle(series.key)}
                onMouseEnter=${() => onFocus(i)}
                onMouseLeave=${() => onFocus(null)}
              >
                <span class="swatch" data-dash=${dash} style=${{ "--color": `var(${color})` }} aria-hidden="true"></span>
                <span class="legend-name">${series.label}</span>
                <span class="legend-value" data-value>${formatValue(value, panel.unit)}</span>
              </button>
            </li>
          `;
        })}
      </ul>
      ${frame.hidden > 0 && html`<p class="note">${frame.hidden} more series are not drawn.</p>`}
    </div>
  `;
}
