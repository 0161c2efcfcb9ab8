// Numbers, times and units as people read them. Axes show few digits, legends enough to tell two values
// apart, and the big numbers all of them.

/** @import {Unit} from "./types.js" */

const binary = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const metric = ["", " k", " M", " G", " T"];

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

/**
 * At most three or four significant digits, no zeros at the end.
 * @param {number} value
 */
function digits(value) {
  const size = Math.abs(value);
  const places = size >= 100 || size === 0 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
  const text = size !== 0 && size < 0.001 ? value.toExponential(1) : value.toFixed(places);
  return text.includes(".") && !text.includes("e") ? text.replace(/\.?0+$/, "") : text;
}

/**
 * @param {number} value
 * @param {number} base
 * @param {number} count of units
 * @returns {[number, number]} the value in that unit, and the unit's index
 */
function scale(value, base, count) {
  let index = 0;
  // 999.5 would be rounded to 1000 of the smaller unit.
  while (Math.abs(value) >= base - 0.5 && index < count - 1) {
    value /= base;
    index++;
  }
  return [value, index];
}

/**
 * @param {number | null | undefined} value
 * @param {Unit} unit
 */
export function formatValue(value, unit) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  switch (unit) {
    case "bytes": {
      const [scaled, index] = scale(value, 1024, binary.length);
      return `${digits(scaled)} ${binary[index]}`;
    }
    case "percent":
      return `${digits(value)} %`;
    case "reqps":
      return `${formatShort(value)} req/s`;
    default:
      return formatShort(value);
  }
}

/** @param {number} value */
function formatShort(value) {
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return grouped.format(value);
  if (Math.abs(value) < 1000) return digits(value);
  const [scaled, index] = scale(value, 1000, metric.length);
  return digits(scaled) + metric[index];
}

/**
 * A number and its unit apart, for a stat panel that sets them in different sizes.
 * @param {number | null} value
 * @param {Unit} unit
 * @returns {[string, string]}
 */
export function formatStat(value, unit) {
  if (unit === "short" && value !== null && Number.isInteger(value) && Math.abs(value) < 1e9) return [grouped.format(value), ""];
  const text = formatValue(value, unit);
  const space = text.indexOf(" ");
  return space < 0 ? [text, ""] : [text.slice(0, space), text.slice(space + 1)];
}

/** Distances between the lines of a value axis. */
export const axisSteps = {
  /** Counts have nothing between one and two. */
  short: decimalSteps(0),
  percent: decimalSteps(-3),
  number: decimalSteps(-12),
  reqps: decimalSteps(-6),
  bytes: Array.from({ length: 50 }, (_, power) => 2 ** power),
};

/** @param {number} from power of ten to begin with */
function decimalSteps(from) {
  /** @type {number[]} */
  const list = [];
  for (let power = from; power < 15; power++) for (const n of [1, 2, 5]) list.push(Number(`${n}e${power}`));
  return list;
}

/** @param {number} n */
const two = (n) => String(n).padStart(2, "0");

/** @param {Date} date */
const hm = (date) => `${two(date.getHours())}:${two(date.getMinutes())}`;

/**
 * Labels of a time axis: the clock, and the date where a day begins.
 * @param {number[]} times Unix seconds
 * @param {number} distance between two of them, in seconds
 */
export function formatTimes(times, distance) {
  return times.map((time) => {
    const date = new Date(time * 1000);
    if (distance >= 86_400 || hm(date) === "00:00") return day.format(date);
    return distance < 60 ? `${hm(date)}:${two(date.getSeconds())}` : hm(date);
  });
}

/**
 * One moment in full: the clock alone when it is of today.
 * @param {number} time Unix seconds
 */
export function formatTime(time) {
  const date = new Date(time * 1000);
  const clock = `${hm(date)}:${two(date.getSeconds())}`;
  return date.toDateString() === new Date().toDateString() ? clock : `${day.format(date)} ${clock}`;
}

/**
 * How long ago something was, or how long it took.
 * @param {number} seconds
 */
export function formatAge(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`;
}

/**
 * A value whose unit is not known.
 * @param {string} text as Prometheus writes numbers
 */
export function parseValue(text) {
  if (text === "+Inf") return Number.POSITIVE_INFINITY;
  if (text === "-Inf") return Number.NEGATIVE_INFINITY;
  return Number(text);
}
