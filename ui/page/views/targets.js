// What is scraped, and what came of it.

import { clip } from "../alerts.js";
import { formatAge } from "../format.js";
import { html } from "../html.js";
import { titleOf } from "../series.js";
import { Frame, Table, useData } from "./data.js";

/** @import {Labels, View as ViewType} from "../types.js" */

/**
 * @typedef {object} Target as Prometheus' API has it
 * @property {string} scrapePool
 * @property {string} scrapeUrl
 * @property {Labels} labels
 * @property {"up" | "down" | "unknown"} health
 * @property {string} lastScrape
 * @property {number} lastScrapeDuration in seconds
 * @property {string} lastError
 */

/** Most targets that are listed. */
const most = 500;

const order = { down: 0, unknown: 1, up: 2 };

/** @type {Record<Target["health"], string>} by which the mark is drawn */
const states = { down: "error", unknown: "unknown", up: "ok" };

/** @type {ViewType} */
export function View({ client, store }) {
  const state = useData(store, async (abort) => {
    const { data } = await client.prometheus("targets", { state: "any" }, abort);
    const active = /** @type {Target[]} */ (data.activeTargets ?? []);
    const dropped = /** @type {Record<string, number>} */ (data.droppedTargetCounts ?? {});
    return { active: active.sort((a, b) => order[a.health] - order[b.health] || (a.scrapePool < b.scrapePool ? -1 : 1)), dropped: Object.entries(dropped).filter(([, n]) => n > 0) };
  });
  const active = state.data?.active ?? [];
  const now = store.now.value;
  return html`
    <${Frame} name="targets" title="Targets" state=${state}>
      ${state.data !== null && html`<${Table} id="active" title=${`Active targets (${active.length})`} head=${["State", "Job", "Address", "Labels", "Last scrape", "Duration", "Error"]} rows=${active.slice(0, most).map((target) => row(target, now))} empty="No targets are configured." />`}
      ${active.length > most && html`<p class="note">And ${active.length - most} more.</p>`}
      ${
        (state.data?.dropped.length ?? 0) > 0 &&
        html`<${Table} id="dropped" title="Targets dropped by relabelling" head=${["Job", "Targets"]} rows=${state.data?.dropped.map(([job, n]) => [job, String(n)]) ?? []} empty="" />`
      }
    <//>
  `;
}

/**
 * @param {Target} target
 * @param {number} now Unix milliseconds
 */
function row(target, now) {
  const at = Date.parse(target.lastScrape);
  return [
    html`<span class="state" data-state=${states[target.health] ?? "unknown"}><span class="mark" aria-hidden="true"></span>${target.health}</span>`,
    target.scrapePool,
    html`<code>${clip(target.scrapeUrl)}</code>`,
    html`<code>${clip(titleOf(target.labels))}</code>`,
    at > 0 ? `${formatAge((now - at) / 1000)} ago` : "never",
    `${(target.lastScrapeDuration * 1000).toFixed(0)} ms`,
    clip(target.lastError),
  ];
}
