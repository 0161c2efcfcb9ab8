// Which time is shown, how it stands in the address, and at which moments the queries are evaluated.

/** @import {Grid, Range} from "./types.js" */

/** The choices of the page, as in Grafana. */
export const choices = ["5m", "15m", "1h", "3h", "6h", "12h", "24h", "2d", "7d", "15d"];

const unitSeconds = /** @type {Record<string, number>} */ ({ m: 60, h: 3600, d: 86_400 });

/** Steps that divide minutes, hours or days evenly; the smallest is the usual scrape interval. */
const steps = [15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400];

/** Shortest time that can be chosen by dragging, in seconds. */
const shortest = 60;

/**
 * @param {string} text such as 1h
 * @returns {number | null} seconds
 */
export function parseDuration(text) {
  const match = /^([1-9][0-9]{0,3})([mhd])$/.exec(text);
  return match ? Number(match[1]) * (unitSeconds[match[2] ?? ""] ?? 0) : null;
}

/**
 * @param {string} last
 * @returns {Range}
 */
export function lastRange(last) {
  return { last, seconds: parseDuration(last) ?? 3600 };
}

/**
 * Reads the address; whatever does not make sense in it gives the fallback.
 * @param {string} hash
 * @param {string} fallback
 * @returns {Range}
 */
export function parseHash(hash, fallback) {
  const params = new URLSearchParams(hash.replace(/^#/, ""));
  const last = params.get("range");
  if (last !== null && choices.includes(last)) return lastRange(last);
  const from = Number(params.get("from") ?? Number.NaN);
  const to = Number(params.get("to") ?? Number.NaN);
  if (Number.isInteger(from) && Number.isInteger(to) && from > 0 && to - from >= shortest && to < 1e11) return { from, to };
  return lastRange(fallback);
}

/** @param {Range} range */
export function formatHash(range) {
  return "last" in range ? `#range=${range.last}` : `#from=${range.from}&to=${range.to}`;
}

/**
 * A range between two moments, or null when they are too close to show anything.
 * @param {number} from Unix seconds
 * @param {number} to Unix seconds
 * @returns {Range | null}
 */
export function fixedRange(from, to) {
  const range = { from: Math.floor(from), to: Math.ceil(to) };
  return range.to - range.from >= shortest ? range : null;
}

/**
 * Chooses the step so that a point is not narrower than about one and a half pixels. Start and end are
 * multiples of it, so that a refresh asks for the same moments again and lines do not shiver.
 * @param {Range} range
 * @param {number} now Unix seconds
 * @param {number} width of a chart in CSS pixels
 * @returns {Grid}
 */
export function gridOf(range, now, width) {
  const [from, to] = "last" in range ? [now - range.seconds, now] : [range.from, range.to];
  const finest = (to - from) / Math.max(100, Math.min(width, 2000) / 1.5);
  const step = steps.find((s) => s >= finest) ?? Math.ceil(finest / 86_400) * 86_400;
  return { start: Math.floor(from / step) * step, end: Math.floor(to / step) * step, step };
}
