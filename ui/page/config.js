// What the server says about itself, and the panels.

/** @import {Board, Config} from "./types.js" */

/** @returns {Config} */
export function readConfig() {
  /** @param {string} name */
  const meta = (name) => document.querySelector(`meta[name="hancock-${name}"]`)?.getAttribute("content") ?? "";
  return {
    version: meta("version"),
    demo: meta("demo") === "true",
    dashboard: meta("dashboard"),
    licenses: meta("licenses"),
  };
}

/**
 * @param {Config} config
 * @returns {Promise<Board>}
 */
export async function loadBoard(config) {
  const response = await fetch(new URL(config.dashboard, document.baseURI));
  if (!response.ok) throw new Error(`dashboard: HTTP ${response.status}`);
  return response.json();
}
