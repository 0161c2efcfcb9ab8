// The state of the process: run time, build, storage, Alertmanagers and flags.

import { clip } from "../alerts.js";
import { html } from "../html.js";
import { Frame, Table, useData } from "./data.js";

/** @import {View as ViewType} from "../types.js" */

/** @typedef {[string, string][]} Rows */

/** @type {ViewType} */
export function View({ client, store }) {
  const state = useData(store, async (abort) => {
    const ask = async (/** @type {string} */ path) => (await client.prometheus(path, {}, abort)).data;
    const [runtime, build, tsdb, flags, managers] = await Promise.all(["status/runtimeinfo", "status/buildinfo", "status/tsdb", "status/flags", "alertmanagers"].map(ask));
    return { runtime, build, tsdb, flags, managers };
  });
  const { data } = state;
  return html`
    <${Frame} name="status" title="Status" state=${state}>
      ${data !== null &&
      html`
        <${Table} id="runtime" title="Run time" head=${["Name", "Value"]} rows=${rowsOf(data.runtime)} empty="Nothing is known." />
        <${Table} id="build" title="Build" head=${["Name", "Value"]} rows=${rowsOf(data.build)} empty="Nothing is known." />
        <${Table} id="alertmanagers" title="External Alertmanagers" head=${["Address", "State"]} rows=${managersOf(data.managers)} empty="No external Alertmanagers are configured." />
        <${Table} id="tsdb" title="Storage head" head=${["Name", "Value"]} rows=${rowsOf(data.tsdb.headStats)} empty="Nothing is known." />
        ${lists.map(([key, title, what]) => html`<${Table} key=${key} id=${key.toLowerCase()} title=${title} head=${["Name", what]} rows=${countsOf(data.tsdb[key])} empty="Nothing is stored." />`)}
        <${Table} id="flags" title="Flags" head=${["Name", "Value"]} rows=${rowsOf(data.flags)} empty="No flags." />
      `}
    <//>
  `;
}

/** @type {[string, string, string][]} lists of the storage: name in the API, title, what is counted */
const lists = [
  ["seriesCountByMetricName", "Metrics with the most series", "Series"],
  ["labelValueCountByLabelName", "Labels with the most values", "Values"],
  ["memoryInBytesByLabelName", "Labels with the most memory", "Bytes"],
  ["seriesCountByLabelValuePair", "Label pairs with the most series", "Series"],
];

/**
 * @param {Record<string, unknown> | undefined} object
 * @returns {Rows}
 */
function rowsOf(object) {
  return Object.entries(object ?? {}).map(([name, value]) => [name, clip(typeof value === "object" ? JSON.stringify(value) : String(value))]);
}

/**
 * @param {{name: string, value: number}[] | undefined} list
 * @returns {Rows}
 */
function countsOf(list) {
  return (list ?? []).map(({ name, value }) => [clip(name), String(value)]);
}

/**
 * @param {{activeAlertmanagers?: {url: string}[], droppedAlertmanagers?: {url: string}[]}} managers
 * @returns {Rows}
 */
function managersOf({ activeAlertmanagers = [], droppedAlertmanagers = [] }) {
  return [...activeAlertmanagers.map(({ url }) => [clip(url), "active"]), ...droppedAlertmanagers.map(({ url }) => [clip(url), "dropped"])].map(([a = "", b = ""]) => [a, b]);
}
