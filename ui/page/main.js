// Where the page begins: everything is made here and handed on.

import { render } from "../third_party/preact.js";
import { createClient } from "./api.js";
import { App } from "./app.js";
import { loadBoard, readConfig } from "./config.js";
import { html } from "./html.js";
import { createStore } from "./store.js";
import { createTheme } from "./theme.js";

/** @import {View} from "./types.js" */

/**
 * The views beside the dashboard, by the last part of the path. They are loaded when they are opened.
 * @type {Record<string, () => Promise<{View: View}>>}
 */
const views = {
  graph: () => import("./views/query.js"),
  query: () => import("./views/query.js"),
  targets: () => import("./views/targets.js"),
  config: () => import("./views/config.js"),
  status: () => import("./views/status.js"),
};

const root = document.getElementById("app");
if (root) {
  try {
    const config = readConfig();
    const [board, view] = await Promise.all([loadBoard(config), views[location.pathname.split("/").pop() ?? ""]?.()]);
    const client = createClient(document.baseURI);
    const store = createStore(client, view ? { ...board, panels: [] } : board);
    const { theme, toggle } = createTheme();
    render(html`<${App} config=${config} client=${client} store=${store} view=${view?.View ?? null} theme=${theme} toggleTheme=${toggle} />`, root);
    store.start();
  } catch (error) {
    root.textContent = `The page could not start: ${error instanceof Error ? error.message : error}. Reload it to try again.`;
  }
}
