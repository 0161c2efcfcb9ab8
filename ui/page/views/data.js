// What the views of tables share: data that is asked again with each refresh of the page, and tables of it.

import { useSignal } from "../../third_party/signals.js";
import { useEffect } from "../../third_party/preact-hooks.js";
import { toApiError } from "../api.js";
import { html } from "../html.js";

/** @import {Store} from "../store.js" */
/** @import {VNode} from "../../third_party/preact.js" */

/**
 * @template T
 * @param {Store} store
 * @param {(abort: AbortSignal) => Promise<T>} ask
 * @returns {{data: T | null, error: string}} data is what was last received
 */
export function useData(store, ask) {
  const answer = useSignal(/** @type {{data: T | null, error: string}} */ ({ data: null, error: "" }));
  useEffect(() => {
    const abort = new AbortController();
    ask(abort.signal).then(
      (data) => {
        if (!abort.signal.aborted) answer.value = { data, error: "" };
      },
      (cause) => {
        if (!abort.signal.aborted) answer.value = { ...answer.peek(), error: toApiError(cause).message };
      },
    );
    return () => abort.abort();
  }, [store.updated.value, store.outage.value]);
  useEffect(() => {
    // Where the address leads was not there when the browser looked for it.
    if (answer.value.data !== null && /^#[a-z]+$/.test(location.hash)) document.querySelector(location.hash)?.scrollIntoView();
  }, [answer.value.data !== null]);
  return answer.value;
}

/**
 * @param {{name: string, title: string, state: {data: unknown, error: string}, children?: any}} props
 */
export function Frame({ name, title, state, children }) {
  return html`
    <section class="view" data-view=${name} data-state=${state.error !== "" ? "error" : state.data === null ? "loading" : "ready"} aria-labelledby="view-title">
      <h2 id="view-title">${title}</h2>
      ${state.error !== "" && html`<p class="warn" role="alert" data-error>It could not be read: ${state.error}.${state.data !== null && " Below is what was last known."}</p>`}
      ${state.data === null && state.error === "" && html`<p class="note">Loading…</p>`}
      ${children}
    </section>
  `;
}

/**
 * @param {{id: string, title: string, head: string[], rows: (string | VNode)[][], empty: string}} props
 */
export function Table({ id, title, head, rows, empty }) {
  return html`
    <section class="panel" id=${id} aria-labelledby=${`${id}-title`}>
      <header><h2 id=${`${id}-title`}>${title}</h2></header>
      ${
        rows.length === 0
          ? html`<p class="note" data-empty>${empty}</p>`
          : html`
            <div class="scroll">
              <table>
                <thead><tr>${head.map((text) => html`<th key=${text} scope="col">${text}</th>`)}</tr></thead>
                <tbody>${rows.map((cells, i) => html`<tr key=${i} data-row>${cells.map((cell, k) => html`<td key=${k}>${cell}</td>`)}</tr>`)}</tbody>
              </table>
            </div>
          `
      }
    </section>
  `;
}
