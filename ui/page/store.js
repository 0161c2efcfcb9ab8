// What the page knows, and the loop that keeps it fresh. Components read the signals; nothing else
// changes them.

import { batch, signal } from "../third_party/signals.js";
import { createAlerting } from "./alerting.js";
import { attempt } from "./api.js";
import { parseDuration, formatHash, gridOf, parseHash } from "./range.js";
import { toFrame, toStats } from "./series.js";

/** @import {Board, Grid, HealthState, MatrixSeries, Outage, Panel, PanelState, Range, VectorSample} from "./types.js" */
/** @import {ApiError, Client} from "./api.js" */

/** Waits between attempts while the server is away, in milliseconds; the last one repeats. */
const retries = [2_000, 5_000, 10_000, 15_000];

/** @typedef {ReturnType<typeof createStore>} Store */

/**
 * @param {Client} client
 * @param {Board} board
 */
export function createStore(client, board) {
  const interval = refreshMillis(board.refresh);
  const range = signal(/** @type {Range} */ (parseHash(location.hash, board.range)));
  /** The last of the page's choices, to come back to from a dragged range. */
  const usual = signal("last" in range.value ? range.value.last : board.range);
  const refreshing = signal(false);
  const paused = signal(false);
  /** When everything was last asked and somebody answered, in Unix milliseconds; 0 is never. */
  const updated = signal(0);
  const now = signal(client.now());
  const outage = signal(/** @type {Outage | null} */ (null));
  /** Sentence for screen readers, on events and not at each refresh. */
  const said = signal("");
  const health = signal(/** @type {HealthState} */ ({ status: "loading", checks: [], error: null }));
  const alerting = createAlerting(client, said);
  const panels = new Map(board.panels.map((panel) => [panel.name, signal(loading)]));

  /** @type {AbortController | null} */
  let running = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let failures = 0;
  let plotWidth = guessWidth();

  /** @param {boolean} [asked] by the reader, who then wants to hear that it is done */
  async function refresh(asked = false) {
    running?.abort();
    clearTimeout(timer);
    const run = new AbortController();
    running = run;
    refreshing.value = true;
    const first = updated.value === 0;
    const ahead = client.ahead();
    const outcomes = await ask(run.signal);
    if (run.signal.aborted) return;
    running = null;
    batch(() => {
      refreshing.value = false;
      settle(outcomes);
      if (asked && outage.value === null) said.value = "Updated.";
    });
    // The first answers tell which time it is at the server: what was asked by another clock is asked again.
    if (first && client.ahead() !== ahead) schedule(0);
    else schedule(outage.value === null ? interval : (retries[Math.min(failures - 1, retries.length - 1)] ?? interval));
  }

  /**
   * Asks for everything at once. Each answer is shown when it comes, not when the last one is there.
   * @param {AbortSignal} abort
   * @returns {Promise<(ApiError | null)[]>} null for each question that was answered
   */
  function ask(abort) {
    const grid = gridOf(range.value, client.now() / 1000, plotWidth);
    const ranges = once((query) => client.range(query, grid, abort));
    const instants = once((query) => client.instant(query, abort));
    return Promise.all([
      ...board.panels.map((panel) => attempt(abort, () => loadPanel(panel, grid, ranges, instants), (e) => failPanel(panel, e))),
      attempt(abort, () => alerting.ask(abort), alerting.fail),
      attempt(
        abort,
        async () => {
          const { status, checks } = await client.health(abort);
          return () => (health.value = { status, checks: Object.entries(checks), error: null });
        },
        (e) => (health.value = { status: "unknown", checks: [], error: e.message }),
      ),
    ]);
  }

  /**
   * @param {Panel} panel
   * @param {Grid} grid
   * @param {(query: string) => Promise<MatrixSeries[]>} ranges
   * @param {(query: string) => Promise<VectorSample[]>} instants
   */
  async function loadPanel(panel, grid, ranges, instants) {
    // A number is of now, with the range behind it as a small line; a chart is the range alone.
    const [matrix, vector] = await Promise.all([ranges(panel.query), panel.kind === "stat" ? instants(panel.query) : []]);
    const frame = toFrame(panel, matrix, grid);
    const stats = toStats(panel, vector);
    const empty = panel.kind === "stat" ? stats.length === 0 : frame.series.length === 0;
    return () => setPanel(panel, { state: empty ? "empty" : "ready", frame, stats, error: null, stale: false });
  }

  /**
   * @param {Panel} panel
   * @param {ApiError} error
   */
  function failPanel(panel, error) {
    const before = panels.get(panel.name)?.peek() ?? loading;
    const known = before.frame !== null;
    // While nobody answers, one sentence at the top says it for all panels that have something to show.
    const quiet = error.kind === "unreachable" && known;
    setPanel(panel, {
      ...before,
      state: quiet ? before.state : "error",
      error: quiet ? before.error : error.message,
      stale: known,
    });
  }

  /**
   * @param {Panel} panel
   * @param {PanelState} state
   */
  function setPanel(panel, state) {
    const target = panels.get(panel.name);
    if (target) target.value = state;
  }

  /** @param {(ApiError | null)[]} outcomes */
  function settle(outcomes) {
    if (outcomes.some((o) => o === null || o.kind !== "unreachable")) {
      if (outage.value !== null) said.value = "Hancock answers again.";
      outage.value = null;
      failures = 0;
      updated.value = client.now();
      return;
    }
    failures++;
    const message = outcomes[0]?.message ?? "";
    if (outage.value === null) said.value = "Hancock does not answer. The page shows what it last received.";
    outage.value = { since: outage.value?.since ?? client.now(), message };
  }

  /** @param {number} wait milliseconds */
  function schedule(wait) {
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(refresh, wait);
  }

  /** @param {Range} next */
  function setRange(next) {
    const hash = formatHash(next);
    if (hash !== location.hash) location.hash = hash;
  }

  function onHash() {
    const next = parseHash(location.hash, board.range);
    if (formatHash(next) === formatHash(range.value)) return;
    batch(() => {
      range.value = next;
      if ("last" in next) usual.value = next.last;
    });
    void refresh();
  }

  function onVisibility() {
    paused.value = document.hidden;
    now.value = client.now();
    if (document.hidden) {
      clearTimeout(timer);
      return;
    }
    const age = client.now() - updated.value;
    // A clock that was set back tells nothing of how old the page is.
    if (age < 0 || age >= interval || outage.value !== null) void refresh();
    else schedule(interval - age);
  }

  return {
    board, range, usual, refreshing, paused, updated, now, outage, said, health, alerting, panels, setRange,

    refresh: () => void refresh(true),

    /**
     * Tells how wide charts really are. It counts from the next refresh on.
     * @param {number} width CSS pixels
     */
    setPlotWidth(width) {
      plotWidth = width;
    },

    /** Begins to ask, for as long as the page lives. */
    start() {
      addEventListener("hashchange", onHash);
      addEventListener("online", () => void refresh());
      document.addEventListener("visibilitychange", onVisibility);
      setInterval(() => {
        if (!document.hidden) now.value = client.now();
      }, 1000);
      paused.value = document.hidden;
      void refresh();
    },
  };
}

/** @type {PanelState} */
const loading = { state: "loading", frame: null, stats: [], error: null, stale: false };

/**
 * Panels with the same query share one answer.
 * @template T
 * @param {(query: string) => Promise<T>} ask
 */
function once(ask) {
  /** @type {Map<string, Promise<T>>} */
  const asked = new Map();
  return (/** @type {string} */ query) => {
    const answer = asked.get(query) ?? ask(query);
    asked.set(query, answer);
    return answer;
  };
}

/** @param {string} text such as 30s or 1m */
function refreshMillis(text) {
  const seconds = /^([0-9]+)s$/.exec(text)?.[1];
  return 1000 * (seconds ? Number(seconds) : (parseDuration(text) ?? 30));
}

/** Width of a chart before the first one is there. */
function guessWidth() {
  const page = Math.min(document.documentElement.clientWidth, 1600);
  return page >= 1000 ? page / 2 - 80 : page - 80;
}
