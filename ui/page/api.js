// The server's APIs, as the page needs them. Every call rejects with an ApiError or, when its signal was
// aborted, with that signal's reason.

/** @import {Attempt, Grid, ManagerAlert, Matcher, MatrixSeries, OutgoingAlert, Rule, Silence, VectorSample} from "./types.js" */

/** Prometheus cuts longer answers off: no panel draws that many series. */
const limit = "200";

/** Longest wait for one answer, in milliseconds. Prometheus is told to give up a little earlier. */
const timeout = 20_000;

export class ApiError extends Error {
  /**
   * @param {"unreachable" | "denied" | "refused"} kind unreachable: nobody answered; denied: it wants a
   *   key; refused: it answered with an error about this very request
   * @param {string} message for the reader
   */
  constructor(kind, message) {
    super(message);
    this.name = "ApiError";
    this.kind = kind;
  }
}

/** @typedef {ReturnType<typeof createClient>} Client */

/** @param {string} base address of the page; all others are relative to it */
export function createClient(base) {
  /** How far the server's clock is ahead of this one, in milliseconds. */
  let ahead = 0;

  /** @param {Response} response */
  function compareClocks(response) {
    const difference = Date.parse(response.headers.get("Date") ?? "") - Date.now();
    // The header knows whole seconds, and an answer takes its time.
    if (!Number.isNaN(difference) && Math.abs(difference - ahead) > 5000) ahead = difference;
  }

  /**
   * @param {string} path
   * @param {Record<string, string>} params
   * @param {AbortSignal} signal
   * @param {RequestInit} [init]
   * @returns {Promise<{status: number, body: any}>}
   */
  async function get(path, params, signal, init) {
    const url = new URL(path, base);
    for (const [name, value] of Object.entries(params)) url.searchParams.set(name, value);
    const deadline = AbortSignal.timeout(timeout);
    let status;
    let text;
    try {
      const response = await fetch(url, {
        cache: "no-store",
        headers: { Accept: "application/json", ...(init?.body && { "Content-Type": "application/json" }) },
        ...init,
        signal: AbortSignal.any([signal, deadline]),
      });
      status = response.status;
      compareClocks(response);
      text = await response.text();
    } catch {
      signal.throwIfAborted();
      throw new ApiError("unreachable", deadline.aborted ? `no answer within ${timeout / 1000} s` : "no connection");
    }
    return { status, body: parse(text) };
  }

  /**
   * @param {string} path
   * @param {Record<string, string>} params
   * @param {AbortSignal} signal
   */
  async function prometheus(path, params, signal) {
    const { status, body } = await get(path, params, signal);
    if (body?.status === "success") return body.data;
    throw refusal(status, body);
  }

  /**
   * Alertmanager's API answers with the thing itself.
   * @param {string} path
   * @param {Record<string, string>} params
   * @param {AbortSignal} signal
   * @param {RequestInit} [init]
   */
  async function alertmanager(path, params, signal, init) {
    const { status, body } = await get(`api/v2/${path}`, params, signal, init);
    if (status >= 200 && status < 300) return body;
    throw refusal(status, body);
  }

  /**
   * @param {string} path
   * @param {Record<string, string>} params
   * @param {AbortSignal} signal
   * @param {string[]} objects that each element has
   * @returns {Promise<any[]>}
   */
  async function managerList(path, params, signal, ...objects) {
    return expectObjects(path, await alertmanager(path, params, signal), ...objects);
  }

  /**
   * Now by the server's clock, which alone knows when its samples are of and when a silence ends.
   * @returns {number} Unix milliseconds
   */
  const now = () => Date.now() + ahead;

  return {
    now,
    ahead: () => ahead,

    /**
     * @param {string} query
     * @param {AbortSignal} signal
     * @returns {Promise<VectorSample[]>}
     */
    async instant(query, signal) {
      const data = await prometheus("api/v1/query", { query, limit, timeout: "15s" }, signal);
      return expectType(data, "vector");
    },

    /**
     * @param {string} query
     * @param {Grid} grid
     * @param {AbortSignal} signal
     * @returns {Promise<MatrixSeries[]>}
     */
    async range(query, grid, signal) {
      const params = {
        query,
        limit,
        start: String(grid.start),
        end: String(grid.end),
        step: String(grid.step),
        timeout: "15s",
      };
      return expectType(await prometheus("api/v1/query_range", params, signal), "matrix");
    },

    /**
     * @param {AbortSignal} signal
     * @returns {Promise<Rule[]>}
     */
    async alertingRules(signal) {
      const data = await prometheus("api/v1/rules", { type: "alert" }, signal);
      return data.groups.flatMap((/** @type {{rules: Rule[]}} */ group) => group.rules);
    },

    /**
     * What Alertmanager holds: all alerts, in their groups, and the silences that have not ended; and which alerts
     * of rules it has with other labels, or not at all.
     * @param {AbortSignal} signal
     * @returns {Promise<{alerts: ManagerAlert[], silences: Silence[], outgoing: OutgoingAlert[]}>}
     */
    async manager(signal) {
      const [groups, silences, outgoing] = await Promise.all([
        managerList("alerts/groups", {}, signal, "alerts"),
        managerList("silences", { expired: "false" }, signal, "matchers", "status"),
        get("api/hancock/alerts/outgoing", {}, signal),
      ]);
      const alerts = groups.flatMap((group) => expectObjects("alerts", group.alerts, "labels", "status"));
      return { alerts: eachOnce(alerts), silences, outgoing: expectObjects("outgoing alerts", outgoing.body?.alerts ?? [], "labels") };
    },

    /**
     * @param {AbortSignal} signal
     * @returns {Promise<string[]>} names of the receivers that are configured now
     */
    async receivers(signal) {
      return (await managerList("receivers", {}, signal)).map((receiver) => receiver.name);
    },

    /**
     * The alerts that all matchers match, as Alertmanager itself matches them.
     * @param {string[]} filter one matcher each, as Alertmanager writes them
     * @param {string} receiver regular expression of the names of receivers, or empty
     * @param {AbortSignal} signal
     * @returns {Promise<Set<string>>} their fingerprints
     */
    async matching(filter, receiver, signal) {
      const params = new URLSearchParams(filter.map((matcher) => ["filter", matcher]));
      if (receiver !== "") params.set("receiver", receiver);
      return new Set((await managerList(`alerts?${params}`, {}, signal)).map((alert) => alert.fingerprint));
    },

    /**
     * @param {string} id of a silence, which may have expired
     * @param {AbortSignal} signal
     * @returns {Promise<Silence>}
     */
    async silenceOf(id, signal) {
      const [silence] = expectObjects("a silence", [await alertmanager(`silence/${encodeURIComponent(id)}`, {}, signal)], "matchers", "status");
      return silence;
    },

    /**
     * An answer of Prometheus' API with its warnings, for the views that are not always loaded.
     * @param {string} path below api/v1
     * @param {Record<string, string>} params
     * @param {AbortSignal} signal
     * @returns {Promise<{data: any, warnings: string[]}>}
     */
    async prometheus(path, params, signal) {
      const { status, body } = await get(`api/v1/${path}`, params, signal);
      if (body?.status !== "success") throw refusal(status, body);
      return { data: body.data, warnings: [body.warnings ?? [], body.infos ?? []].flat().map(String) };
    },

    /**
     * @param {string} path below api/v2
     * @param {AbortSignal} signal
     */
    alertmanager: (path, signal) => alertmanager(path, {}, signal),

    /**
     * @param {Matcher[]} matchers
     * @param {number} seconds from now
     * @param {string} comment
     * @param {AbortSignal} signal
     */
    async silence(matchers, seconds, comment, signal) {
      const from = now();
      const body = JSON.stringify({
        matchers,
        startsAt: new Date(from).toISOString(),
        endsAt: new Date(from + seconds * 1000).toISOString(),
        createdBy: "page",
        comment,
      });
      await alertmanager("silences", {}, signal, { method: "POST", body });
    },

    /**
     * @param {string} id of a silence
     * @param {AbortSignal} signal
     */
    async endSilence(id, signal) {
      await alertmanager(`silence/${encodeURIComponent(id)}`, {}, signal, { method: "DELETE" });
    },

    /**
     * The last attempts to notify somebody, newest first, and whether anybody outside is notified at all.
     * @param {AbortSignal} signal
     * @returns {Promise<{attempts: Attempt[], notifies: boolean}>}
     */
    async notifications(signal) {
      const { status, body } = await get("api/hancock/notifications", { limit: "20" }, signal);
      if (status === 200 && Array.isArray(body?.notifications)) return { attempts: body.notifications, notifies: body.notifies !== false };
      throw refusal(status, body);
    },

    /**
     * Health is an answer whatever its code: 503 says that Hancock is ill, in the same form.
     * @param {AbortSignal} signal
     */
    async health(signal) {
      const { status, body } = await get("health", {}, signal);
      if (typeof body?.status === "string" && typeof body.checks === "object") return body;
      throw refusal(status, body);
    },
  };
}

/**
 * Runs one question. Its answer is applied, and its error shown, only while somebody still wants it.
 * @param {AbortSignal} abort
 * @param {() => Promise<() => unknown>} question
 * @param {(error: ApiError) => unknown} onError
 * @returns {Promise<ApiError | null>}
 */
export async function attempt(abort, question, onError) {
  try {
    const apply = await question();
    if (!abort.aborted) apply();
    return null;
  } catch (cause) {
    if (abort.aborted) return null;
    const error = toApiError(cause);
    onError(error);
    return error;
  }
}

/** @param {unknown} cause */
export function toApiError(cause) {
  return cause instanceof ApiError ? cause : new ApiError("refused", `unexpected answer (${cause})`);
}

/** @param {string} text */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/**
 * @param {number} status
 * @param {any} body
 */
function refusal(status, body) {
  if (status === 401 || status === 403) return new ApiError("denied", "Hancock wants its key: reload the page to sign in");
  // Prometheus and Hancock say it in error, Alertmanager as a bare text or in message.
  const said = [body?.error, body?.message, body].find((text) => typeof text === "string") ?? "";
  // A proxy before a server that is gone answers in its own words, not in those of the API.
  if (said === "" && status >= 502 && status <= 504) return new ApiError("unreachable", `a proxy answered ${status}`);
  return new ApiError("refused", said || `unexpected answer (HTTP ${status})`);
}

/**
 * @param {any} data
 * @param {string} type
 */
function expectType(data, type) {
  if (data?.resultType !== type || !Array.isArray(data.result)) {
    throw new ApiError("refused", `the query gives a ${data?.resultType}, not a ${type}`);
  }
  return data.result;
}

/**
 * @param {string} what
 * @param {unknown} list
 * @param {...string} objects that each element has
 * @returns {any[]}
 */
function expectObjects(what, list, ...objects) {
  if (Array.isArray(list) && list.every((element) => objects.every((name) => typeof element?.[name] === "object"))) return list;
  throw new ApiError("refused", `unexpected answer about ${what}`);
}

/**
 * An alert stands in as many groups as routes match it, and each of them may be muted by itself: as long as
 * one is not, somebody is told.
 * @param {ManagerAlert[]} alerts
 * @returns {ManagerAlert[]}
 */
function eachOnce(alerts) {
  const muted = (/** @type {ManagerAlert} */ alert) => (alert.status.mutedBy ?? []).length > 0;
  /** @type {Map<string, ManagerAlert>} */
  const found = new Map();
  for (const alert of alerts) {
    const other = found.get(alert.fingerprint);
    if (!other || muted(other)) found.set(alert.fingerprint, alert);
  }
  return [...found.values()];
}
