// The head of the page: who this is, how it is, which time is shown, how fresh it is.

import { AlertChip } from "./alertlist.js";
import { formatAge, formatTime } from "./format.js";
import { HealthChip } from "./health.js";
import { html } from "./html.js";
import { choices, lastRange } from "./range.js";

/** @import {Config} from "./types.js" */
/** @import {Signal} from "../third_party/signals.js" */
/** @import {Store} from "./store.js" */
/** @import {Theme} from "./theme.js" */

/**
 * @param {{config: Config, store: Store, theme: Signal<Theme>, toggleTheme: () => void, view: boolean}} props
 *   view is true where another view takes the place of the dashboard
 */
export function Header({ config, store, theme, toggleTheme, view }) {
  return html`
    <header class="top">
      <div class="brand">
        <${Mark} />
        <h1><a href="./">${store.board.title}</a></h1>
        ${config.version !== "" && html`<span class="muted" data-version>${config.version}</span>`}
        ${config.demo && html`<span class="tag demo" data-demo title="These data are made up: Hancock runs with a simulated model and generated traffic.">Demo</span>`}
      </div>
      <div class="chips">
        <${HealthChip} store=${store} />
        <${AlertChip} store=${store} />
        <${ThemeButton} theme=${theme} toggle=${toggleTheme} />
      </div>
      <div class="controls">
        ${!view && html`<${RangePicker} store=${store} />`}
        <${Freshness} store=${store} />
      </div>
    </header>
  `;
}

function Mark() {
  return html`
    <svg class="logo" viewBox="0 0 32 32" aria-hidden="true">
      <path d="M16 2 4 6.5v8.6C4 22.4 9 28 16 30c7-2 12-7.6 12-14.9V6.5z" />
      <path class="logo-line" d="M8.5 17h4l2.5-6 3.5 10 2-4h3" />
    </svg>
  `;
}

/** @param {{store: Store}} props */
function RangePicker({ store }) {
  const range = store.range.value;
  const fixed = "from" in range;
  return html`
    <fieldset class="ranges" data-range=${fixed ? "fixed" : range.last}>
      <legend class="visually-hidden">Time range</legend>
      ${choices.map(
        (choice) => html`
          <label key=${choice}>
            <input
              type="radio"
              name="range"
              value=${choice}
              checked=${!fixed && range.last === choice}
              onChange=${() => store.setRange(lastRange(choice))}
            />
            <span>${choice}</span>
          </label>
        `,
      )}
    </fieldset>
    ${fixed &&
    html`
      <button type="button" class="chip" data-range-reset onClick=${() => store.setRange(lastRange(store.usual.value))}>
        ${formatTime(range.from)} to ${formatTime(range.to)} <span aria-hidden="true">✕</span>
        <span class="visually-hidden">, back to the last ${store.usual.value}</span>
      </button>
    `}
  `;
}

/** @param {{store: Store}} props */
function Freshness({ store }) {
  const updated = store.updated.value;
  const age = updated === 0 ? "waiting for data" : `updated ${formatAge((store.now.value - updated) / 1000)} ago`;
  return html`
    <div class="fresh">
      <span class="muted" data-updated=${updated} title=${`Renewed every ${store.board.refresh} while this page can be seen`}>${age}</span>
      <button type="button" class="icon" data-refresh aria-label="Refresh now" title="Refresh now" aria-busy=${store.refreshing.value} onClick=${store.refresh}>
        <svg viewBox="0 0 16 16" aria-hidden="true"><path d="M13.5 8A5.5 5.5 0 1 1 11.6 3.85M13.5 1.5v3.5H10" /></svg>
      </button>
    </div>
  `;
}

/** @param {{theme: Signal<Theme>, toggle: () => void}} props */
function ThemeButton({ theme, toggle }) {
  const other = theme.value === "dark" ? "light" : "dark";
  return html`
    <button type="button" class="icon" data-theme-toggle aria-label=${`Use the ${other} theme`} title=${`Use the ${other} theme`} onClick=${toggle}>
      <svg viewBox="0 0 16 16" aria-hidden="true">
        ${
          other === "light"
            ? html`<circle cx="8" cy="8" r="3" /><path d="M8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M13 3l-1 1M4 12l-1 1" />`
            : html`<path d="M13.5 9.5A6 6 0 0 1 6.5 2.5a6 6 0 1 0 7 7z" />`
        }
      </svg>
    </button>
  `;
}
