// Runs before the first paint, so that the page does not flash in the wrong colours. theme.js does the
// rest; the name in localStorage is known to both.
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("hancock-theme");
  } catch {
    // Storage may be closed to us; then the system decides.
  }
  const dark = chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
})();
