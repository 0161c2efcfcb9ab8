// The health chip and the checks behind it.

import { html } from "./html.js";

/** @import {HealthState} from "./types.js" */
/** @import {Store} from "./store.js" */

/** @type {Record<HealthState["status"], string>} */
const words = { loading: "Health", ok: "Healthy", degraded: "Degraded", error: "Unhealthy", unknown: "Health unknown" };

/** @param {{store: Store}} props */
export function HealthChip({ store }) {
  const { status, checks, error } = store.health.value;
  const text = words[status] ?? status;
  return html`
    <button type="button" class="chip" data-health=${status} popovertarget="health-list" aria-label=${`${text}: show all checks`}>
      <span class="mark" aria-hidden="true"></span>${text}
    </button>
    <div id="health-list" class="popover" popover role="region" aria-label="Health checks">
      <h2>Health checks</h2>
      ${error !== null && html`<p class="note">The checks could not be read: ${error}.</p>`}
      <ul class="checks">
        ${checks.map(
          ([name, check]) => html`
            <li key=${name} data-check=${name} data-state=${check.status}>
              <span class="mark" aria-hidden="true"></span>
              <strong>${name}</strong>
              <span>${check.status}</span>
              <span class="muted">${detailOf(check)}</span>
            </li>
          `,
        )}
      </ul>
    </div>
  `;
}

/** @param {import("./types.js").Check} check */
function detailOf(check) {
  const latency = typeof check.latency_ms === "number" ? `${check.latency_ms} ms` : "";
  return [check.detail ?? "", latency].filter((part) => part !== "").join(", ");
}
