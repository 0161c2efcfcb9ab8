// Where the page begins: everything is made here and handed on.

import { render } from "../third_party/preact.js";
import { createClient } from "./api.js";
import { App } from "./app.js";
import { loadBoard, readConfig } from "./config.js";
import { html } from "./html.js";
import { createStore } from "./store.js";
import { createTheme } from "./theme.js";

const root = document.getElementById("app");
if (root) {
  try {
    const config = readConfig();
    const store = createStore(createClient(document.baseURI), await loadBoard(config));
    const { theme, toggle } = createTheme();
    render(html`<${App} config=${config} store=${store} theme=${theme} toggleTheme=${toggle} />`, root);
    store.start();
  } catch (error) {
    root.textContent = `The page could not start: ${error instanceof Error ? error.message : error}. Reload it to try again.`;
  }
}
