// The page as a whole.

import { useSignal } from "../third_party/signals.js";
import { formatTime } from "./format.js";
import { Header } from "./header.js";
import { html } from "./html.js";
import { PanelView } from "./panel.js";

/** @import {Config, View} from "./types.js" */
/** @import {Client} from "./api.js" */
/** @import {Signal} from "../third_party/signals.js" */
/** @import {Store} from "./store.js" */
/** @import {Theme} from "./theme.js" */

/**
 * @param {{config: Config, client: Client, store: Store, view: View | null, theme: Signal<Theme>, toggleTheme: () => void}} props
 *   view takes the place of the dashboard
 */
export function App({ config, client, store, view, theme, toggleTheme }) {
  const status = store.outage.value !== null ? "outage" : store.updated.value === 0 ? "loading" : "live";
  const of = (/** @type {string} */ kind) =>
    store.board.panels
      .filter((panel) => panel.kind === kind)
      .map((panel) => html`<${PanelView} key=${panel.name} panel=${panel} state=${store.panels.get(panel.name)} store=${store} theme=${theme} />`);
  return html`
    <div class="page" data-status=${status} data-paused=${store.paused.value}>
      <${Header} config=${config} store=${store} theme=${theme} toggleTheme=${toggleTheme} view=${view !== null} />
      <main>
        <${OutageNote} store=${store} />
        ${
          view !== null
            ? html`<${view} client=${client} store=${store} theme=${theme} />`
            : html`
              <${FirstSteps} store=${store} />
              <div class="row stats-row">${of("stat")}</div>
              <div class="row charts-row">${of("timeseries")}</div>
            `
        }
      </main>
      <footer>
        <span>Times are ${Intl.DateTimeFormat().resolvedOptions().timeZone}. Drag over a chart to look closer; double click to go back.</span>
        <nav aria-label="Further views">
          ${links.map(([name, address]) => html`<a key=${address} href=${address}>${name}</a>`)}
          <a href=${config.licenses}>Licences</a>
        </nav>
      </footer>
      <p class="visually-hidden" role="status" aria-live="polite">${store.said.value}</p>
    </div>
  `;
}

/** @type {[string, string][]} views by name and address */
const links = [["Dashboard", "./"], ["Expression", "query"], ["Targets", "targets"], ["Configuration", "config"], ["Status", "status"], ["Documentation", "docs/"]];

/** @param {{store: Store}} props */
function OutageNote({ store }) {
  const outage = store.outage.value;
  if (outage === null) return null;
  const shown = store.updated.value === 0 ? "" : " Below is what was last received.";
  return html`
    <div class="banner bad" data-outage>
      <strong>Hancock has not answered since ${formatTime(outage.since / 1000)}</strong>
      <span>(${outage.message}).${shown} The page goes on by itself when it is back.</span>
    </div>
  `;
}

/**
 * A process that nobody has asked anything yet: how to change that.
 * @param {{store: Store}} props
 */
function FirstSteps({ store }) {
  const copied = useSignal(false);
  const total = store.panels.get("Total Requests (stat)")?.value;
  if (total === undefined || store.outage.value !== null) return null;
  const waiting = total.state === "empty";
  // A process that was just started again is not new to its user: what came before is on the charts.
  const before = total.frame?.series.some((series) => series.values.some((value) => value)) ?? false;
  const idle = total.state === "ready" && !before && total.stats.every((stat) => stat.value === 0);
  if (!waiting && !idle) return null;
  const command = `curl -s ${new URL("v1/ask", document.baseURI)} -H 'Content-Type: application/json' -d '{"question": "What is a SYN flood?"}'`;
  const copy = async () => {
    await navigator.clipboard.writeText(command);
    copied.value = true;
  };
  return html`
    <div class="banner" data-first-steps>
      <strong>${waiting ? "No samples are stored yet." : "No requests yet."}</strong>
      <span>${waiting ? "The first ones come within a scrape interval. " : ""}Ask Hancock something, and within 15 seconds it is on this page:</span>
      <div class="command">
        <code tabindex="0">${command}</code>
        ${navigator.clipboard && html`<button type="button" class="chip" onClick=${copy}>${copied.value ? "Copied" : "Copy"}</button>`}
      </div>
      <span class="muted">With a key set, add <code>-H "Authorization: Bearer $HANCOCK_API_KEY"</code>.</span>
    </div>
  `;
}
