// Light and dark: what the system says, unless the reader chose otherwise.

import { signal } from "../third_party/signals.js";

const storageKey = "hancock-theme";

/** @typedef {"light" | "dark"} Theme */

/** A signal of the theme in use, and the switch to the other one. */
export function createTheme() {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const theme = signal(/** @type {Theme} */ (document.documentElement.dataset.theme === "dark" ? "dark" : "light"));

  /** @param {Theme} value */
  const apply = (value) => {
    document.documentElement.dataset.theme = value;
    theme.value = value;
  };

  system.addEventListener("change", () => {
    if (stored() === null) apply(system.matches ? "dark" : "light");
  });

  const toggle = () => {
    const next = theme.value === "dark" ? "light" : "dark";
    // Back at what the system says, the page follows the system again.
    store(next === (system.matches ? "dark" : "light") ? null : next);
    apply(next);
  };
  return { theme, toggle };
}

function stored() {
  try {
    return localStorage.getItem(storageKey);
  } catch {
    return null;
  }
}

/** @param {Theme | null} value */
function store(value) {
  try {
    if (value === null) localStorage.removeItem(storageKey);
    else localStorage.setItem(storageKey, value);
  } catch {
    // Then the choice lasts as long as the page.
  }
}
