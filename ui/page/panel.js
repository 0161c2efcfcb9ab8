// The frame around a panel: its name, and what to say when there is nothing to draw.

import { Chart } from "./chart.js";
import { html } from "./html.js";
import { StatView } from "./stat.js";

/** @import {Panel, PanelState} from "./types.js" */
/** @import {Signal} from "../third_party/signals.js" */
/** @import {Store} from "./store.js" */
/** @import {Theme} from "./theme.js" */

/** @param {{panel: Panel, state: Signal<PanelState>, store: Store, theme: Signal<Theme>}} props */
export function PanelView({ panel, state, store, theme }) {
  const { state: word, frame, stats, error, stale } = state.value;
  const id = `panel-${store.board.panels.indexOf(panel)}`;
  const [name, suffix] = splitName(panel.name);
  const empty = panel.kind === "stat" ? "No data yet." : (panel.empty ?? "Nothing is stored for this time yet.");
  const drawn = word === "ready" || (stale && (panel.kind === "stat" ? stats.length > 0 : (frame?.series.length ?? 0) > 0));
  return html`
    <section class=${`panel ${panel.kind}`} data-panel=${panel.name} data-kind=${panel.kind} data-state=${word} data-stale=${stale} aria-labelledby=${id}>
      <header>
        <h2 id=${id}>${name}${suffix !== "" && html`<span class="visually-hidden"> ${suffix}</span>`}</h2>
        <${About} panel=${panel} id=${`${id}-about`} />
        ${stale && html`<span class="tag">stale</span>`}
      </header>
      ${word === "error" && html`<p class="panel-error" data-error role="status">${error}</p>`}
      ${word === "loading" && html`<p class="panel-note"><span class="visually-hidden">Loading</span></p>`}
      ${word === "empty" && html`<p class="panel-note">${empty}</p>`}
      ${drawn && panel.kind === "stat" && html`<${StatView} panel=${panel} stats=${stats} frame=${word === "error" ? null : frame} />`}
      ${drawn && panel.kind !== "stat" && frame !== null && html`<${Chart} panel=${panel} frame=${frame} store=${store} theme=${theme} />`}
    </section>
  `;
}

/**
 * What a panel shows, and the query that it asks.
 * @param {{panel: Panel, id: string}} props
 */
function About({ panel, id }) {
  return html`
    <button type="button" class="about" popovertarget=${id} aria-label=${`About ${panel.name}`}>
      <svg viewBox="0 0 16 16" aria-hidden="true"><circle cx="8" cy="8" r="6.5" /><path d="M8 7.2v4M8 4.8v.2" /></svg>
    </button>
    <div id=${id} class="popover about-text" popover role="note">
      <p>${panel.description}</p>
      <code>${panel.query}</code>
    </div>
  `;
}

/**
 * "(stat)" sets names apart in a list, but next to a big number it says what can be seen.
 * @param {string} name
 * @returns {[string, string]}
 */
function splitName(name) {
  const match = /^(.*) (\(stat\))$/.exec(name);
  return match ? [match[1] ?? "", match[2] ?? ""] : [name, ""];
}
