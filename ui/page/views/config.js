// The configuration in effect, as the APIs give it: without secrets.

import { html } from "../html.js";
import { Frame, useData } from "./data.js";

/** @import {View as ViewType} from "../types.js" */

/** @type {ViewType} */
export function View({ client, store }) {
  const state = useData(store, async (abort) => {
    const [prometheus, alertmanager] = await Promise.all([client.prometheus("status/config", {}, abort), client.alertmanager("status", abort)]);
    return { prometheus: String(prometheus.data.yaml), alertmanager: String(alertmanager?.config?.original ?? "") };
  });
  return html`
    <${Frame} name="config" title="Configuration" state=${state}>
      ${state.data !== null &&
      html`
        <${Text} id="prometheus" title="Prometheus" text=${state.data.prometheus} />
        <${Text} id="alertmanager" title="Alertmanager" text=${state.data.alertmanager} />
      `}
    <//>
  `;
}

/** @param {{id: string, title: string, text: string}} props */
function Text({ id, title, text }) {
  return html`
    <section class="panel" id=${id} aria-labelledby=${`${id}-title`}>
      <header><h2 id=${`${id}-title`}>${title}</h2></header>
      ${text.trim() === "" ? html`<p class="note" data-empty>Nothing is configured.</p>` : html`<pre class="scroll" tabindex="0"><code>${text}</code></pre>`}
    </section>
  `;
}
