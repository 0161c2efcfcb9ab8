// The server's APIs, as the page needs them. Every call rejects with an ApiError or, when its signal was
// aborted, with that signal's reason.

/** @import {Grid, MatrixSeries, Rule, VectorSample} from "./types.js" */

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
  /**
   * @param {string} path
   * @param {Record<string, string>} params
   * @param {AbortSignal} signal
   * @returns {Promise<{status: number, body: any}>}
   */
  async function get(path, params, signal) {
    const url = new URL(path, base);
    for (const [name, value] of Object.entries(params)) url.searchParams.set(name, value);
    const deadline = AbortSignal.timeout(timeout);
    let status;
    let text;
    try {
      const response = await fetch(url, {
        cache: "no-store",
        headers: { Accept: "application/json" },
        signal: AbortSignal.any([signal, deadline]),
      });
      status = response.status;
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

  return {
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
  const said = typeof body?.error === "string" ? body.error : "";
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
