// @ts-check
/** Days and clocks, in the time zone of the conversations and not of the browser. */

import { preference } from "./preferences.js";

const WEEKDAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
  "November", "December"];
const QUARTER_MS = 900e3;

let zone = "UTC";
/** How far clocks are ahead of UTC (ms), by the quarter of an hour. @type {Map<number, number>} */
const offsets = new Map();
/** @type {Intl.DateTimeFormat | null} */
let parts = null;

/** @param {string} name */
export function setZone(name) {
  if (!name || name === zone) return;
  zone = name;
  parts = null;
  offsets.clear();
}

export const zoneName = () => zone;

/** How far the clocks of the zone are ahead of UTC at a moment (ms). @param {number} moment */
function offsetAt(moment) {
  if (zone === "UTC") return 0;
  const quarter = Math.floor(moment / QUARTER_MS);
  let offset = offsets.get(quarter);
  if (offset === undefined) {
    parts ||= new Intl.DateTimeFormat("en", { timeZone: zone, hourCycle: "h23", era: "short", year: "numeric",
      month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric" });
    const at = quarter * QUARTER_MS, told = Object.fromEntries(parts.formatToParts(at).map((one) => [one.type, one.value]));
    const year = told.era.startsWith("B") ? 1 - Number(told.year) : Number(told.year);
    const local = new Date(0);
    local.setUTCFullYear(year, Number(told.month) - 1, Number(told.day));
    local.setUTCHours(Number(told.hour), Number(told.minute), Number(told.second));
    offsets.set(quarter, (offset = local.getTime() - at));
  }
  return offset;
}

/** A moment as its zone's clocks show it, to be read as if it were UTC. @param {string | number | Date} moment */
function local(moment) {
  const at = typeof moment === "number" ? moment : new Date(moment).getTime();
  return new Date(at + offsetAt(at));
}

/** The time of day of a moment. @param {string | number | Date} moment */
export function clock(moment) {
  const [hour, minute] = local(moment).toISOString().slice(-13, -8).split(":");
  if (preference("clock") !== "12") return `${hour}:${minute}`;
  return `${String(Number(hour) % 12 || 12).padStart(2, "0")}:${minute} ${Number(hour) < 12 ? "AM" : "PM"}`;
}

/** The date of a moment. @param {number} moment */
const dated = (moment) => local(moment).toISOString().slice(0, -14);

/** Date and time of a moment, short. @param {string | number | Date} moment */
export function stamp(moment) {
  const at = local(moment);
  return `${at.getUTCDate()} ${MONTHS[at.getUTCMonth()].slice(0, 3)}, ${clock(moment)}`;
}

/** @param {string} day YYYY-MM-DD @param {number} by */
export function shifted(day, by) {
  const date = new Date(`${day}T00:00:00Z`);
  date.setUTCDate(date.getUTCDate() + by);
  return date.toISOString().slice(0, 10);
}

/** The same day of another month, or its last. @param {string} day @param {number} by */
export function monthsOn(day, by) {
  const [year, month, date] = day.split("-").map(Number);
  const last = new Date(Date.UTC(year, month + by, 0)).getUTCDate();
  return new Date(Date.UTC(year, month - 1 + by, Math.min(date, last))).toISOString().slice(0, 10);
}

/** Today, where the conversations are. */
export const today = () => dated(Date.now());

/** @param {string} day */
export const isDay = (day) =>
  /^\d{4}-\d\d-\d\d$/.test(day) && !Number.isNaN(Date.parse(`${day}T00:00:00Z`)) && shifted(day, 0) === day;

/**
 * A day in words: "Wed, 15 January 2025", "Wednesday 15 January", "15 January 2025", "January 2025".
 * @param {string} day
 * @param {"short" | "weekday" | "date" | "month"} form
 */
export function dayName(day, form) {
  const at = new Date(`${day}T00:00:00Z`), weekday = WEEKDAYS[at.getUTCDay()], month = MONTHS[at.getUTCMonth()];
  const year = Number(day.slice(0, 4)), date = at.getUTCDate();
  if (form === "short") return `${weekday.slice(0, 3)}, ${date} ${month} ${year}`;
  if (form === "weekday") return `${weekday} ${date} ${month}`;
  return form === "date" ? `${date} ${month} ${year}` : `${month} ${year}`;
}

/** When a day begins: the first moment (ms) that has its date. @param {string} day */
export function beginning(day) {
  const naive = Date.parse(`${day}T00:00:00Z`);
  let low = naive - 16 * 3600e3, high = naive + 16 * 3600e3;
  while (high - low > 60e3) {
    const middle = (low + high) / 2;
    if (dated(middle) >= day) high = middle;
    else low = middle;
  }
  return Math.round(high / QUARTER_MS) * QUARTER_MS;
}

/** How many hours a day has: 23 and 25 where clocks are changed. @param {string} day */
export const hoursOf = (day) => Math.round((beginning(shifted(day, 1)) - beginning(day)) / 3600e3);
