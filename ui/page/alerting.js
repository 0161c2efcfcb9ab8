// Asks what fires, what is silenced and who was told, and keeps the answers.

import { batch, signal } from "../third_party/signals.js";
import { failingOf, fires, heartbeatOf, toAlerts } from "./alerts.js";
import { attempt, toApiError } from "./api.js";

/** @import {Signal} from "../third_party/signals.js" */
/** @import {AlertRow, AlertsState, Labels, Link, Matcher, Rule} from "./types.js" */
/** @import {ApiError, Client} from "./api.js" */

/** While nothing fires and nobody looks, the ledger is asked once in so many refreshes. */
const quietTurns = 10;

/** @typedef {ReturnType<typeof createAlerting>} Alerting */

/**
 * @param {Client} client
 * @param {Signal<string>} said
 */
export function createAlerting(client, said) {
  const alerts = signal(
    /** @type {AlertsState} */ ({
      state: "loading",
      rows: [],
      error: null,
      heartbeat: "none",
      manager: null,
      managerError: null,
      told: null,
      toldError: null,
    }),
  );
  /** The list can be seen. */
  const open = signal(false);
  /** What the address asks the list for. */
  const link = signal(/** @type {Link | null} */ (null));
  // Alertmanager is not asked before there is something to see. (A tab in the background never paints.)
  const painted = new Promise((done) => {
    requestAnimationFrame(() => setTimeout(done));
    setTimeout(done, 1000);
  });
  let turn = 0;
  let asked = 0;
  /** What the rules API last answered. @type {Rule[]} */
  let rules = [];
  let running = new AbortController();

  /**
   * Rules and Alertmanager are asked at every refresh: alerts that others posted are known to Alertmanager alone. Both
   * answers are shown at once, so that a silenced alert is never announced as one that fires.
   * @param {AbortSignal} abort
   */
  async function ask(abort) {
    const mine = ++asked;
    const managed = painted.then(() => outcome(client.manager(abort)));
    const answered = await outcome(client.alertingRules(abort));
    const before = alerts.peek();
    const busy = open.peek() || fires(answered.value ?? rules) || before.rows.some((row) => row.state === "firing");
    const due = busy || (before.told?.failing.length ?? 0) > 0 || turn % quietTurns === 0;
    const [manager, told] = await Promise.all([managed, due ? painted.then(() => outcome(askLedger(abort))) : null]);
    if (answered.error !== null && manager.error !== null) throw answered.error;
    return () => {
      // An answer to an older question would bring back what has been silenced since.
      if (mine !== asked) return;
      turn++;
      rules = answered.value ?? rules;
      show({
        ...before,
        error: answered.error?.message ?? null,
        manager: manager.value ?? before.manager,
        managerError: manager.error?.message ?? null,
        ...(told && { told: told.value ?? before.told, toldError: told.error?.message ?? null }),
      });
    };
  }

  /** @param {AbortSignal} abort */
  async function askLedger(abort) {
    const { attempts, notifies } = await client.notifications(abort);
    const failing = failingOf(attempts);
    if (failing.length === 0) return { attempts, notifies, failing };
    const receivers = await client.receivers(abort).catch(() => null);
    return { attempts, notifies, failing: failingOf(attempts, receivers) };
  }

  /** @param {AlertsState} next whose rows are made here */
  function show(next) {
    const firing = (/** @type {AlertRow[]} */ rows) => new Set(rows.filter((r) => r.state === "firing").map((r) => r.name));
    const before = firing(alerts.peek().rows);
    const rows = toAlerts(rules, next.manager);
    const news = [...firing(rows)].filter((name) => !before.has(name));
    batch(() => {
      if (news.length > 0) said.value = `Alert firing: ${news.slice(0, 10).join(", ")}.`;
      alerts.value = { ...next, state: "ready", rows, heartbeat: heartbeatOf(rules) };
    });
  }

  /** @param {ApiError} error */
  function fail(error) {
    alerts.value = { ...alerts.peek(), state: "error", error: error.message };
  }

  /** Asks again at once, beside the page's own rhythm. */
  async function again() {
    running.abort();
    running = new AbortController();
    const { signal } = running;
    await attempt(signal, () => ask(signal), fail);
  }

  /**
   * Changes something, then shows what came of it.
   * @param {(abort: AbortSignal) => Promise<void>} change
   * @param {string} done sentence for screen readers
   * @returns {Promise<string>} why it did not work, or nothing
   */
  async function apply(change, done) {
    try {
      await change(new AbortController().signal);
    } catch (cause) {
      const { kind, message } = toApiError(cause);
      return kind === "unreachable" ? `${message}; try it again` : message;
    }
    await again();
    said.value = done;
    return "";
  }

  return {
    alerts,
    open,
    link,
    ask,
    fail,
    matching: client.matching,
    silenceOf: client.silenceOf,

    /** @param {boolean} now */
    setOpen(now) {
      open.value = now;
      if (now) void again();
    },

    /**
     * @param {AlertRow} row
     * @param {number} seconds
     * @param {string} comment
     */
    silence: (row, seconds, comment) =>
      apply((abort) => client.silence(equalTo(row.labels), seconds, comment, abort), `${row.name} is silenced.`),

    /**
     * @param {Matcher[]} matchers
     * @param {number} seconds
     * @param {string} comment
     */
    silenceMatching: (matchers, seconds, comment) => apply((abort) => client.silence(matchers, seconds, comment, abort), "The silence was created."),

    /** @param {string} id */
    endSilence: (id) => apply((abort) => client.endSilence(id, abort), "The silence has ended."),
  };
}

/**
 * What came of a question whose failure must not hide the answers to others.
 * @template T
 * @param {Promise<T>} question
 * @returns {Promise<{value: T | null, error: ApiError | null}>}
 */
async function outcome(question) {
  try {
    return { value: await question, error: null };
  } catch (cause) {
    return { value: null, error: toApiError(cause) };
  }
}

/**
 * One equality matcher for each label: this alert, and no other that has more to it.
 * @param {Labels} labels
 * @returns {Matcher[]}
 */
function equalTo(labels) {
  return Object.entries(labels).map(([name, value]) => ({ name, value, isRegex: false, isEqual: true }));
}
