// @ts-check
/** Days and clocks, in the time zone of the conversations and not of the browser. */

import { preference } from "./preferences.js";

let zone = "UTC";
/** @type {Intl.DateTimeFormat | null} */
let format = null;
let formatted = "";

/** @param {string} name */
export function setZone(name) {
  if (name) zone = name;
}

export const zoneName = () => zone;

/** The time of day of a moment. @param {string | number | Date} moment */
export function clock(moment) {
  const wanted = `${zone} ${preference("clock")}`;
  if (!format || formatted !== wanted) {
    const cycle = preference("clock") === "12" ? "h12" : "h23";
    format = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", hourCycle: cycle, timeZone: zone });
    formatted = wanted;
  }
  return format.format(new Date(moment));
}

/** Date and time of a moment, short. @param {string | number | Date} moment */
export const stamp = (moment) =>
  `${new Date(moment).toLocaleDateString("en", { day: "numeric", month: "short", timeZone: zone })}, ${clock(moment)}`;

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
export const today = () => new Intl.DateTimeFormat("en-CA", { timeZone: zone }).format(new Date());

/** @param {string} day */
export const isDay = (day) =>
  /^\d{4}-\d\d-\d\d$/.test(day) && !Number.isNaN(Date.parse(`${day}T00:00:00Z`)) && shifted(day, 0) === day;

/** @param {string} day @param {Intl.DateTimeFormatOptions} options */
export const dayName = (day, options) =>
  new Date(`${day}T00:00:00Z`).toLocaleDateString("en-GB", { ...options, timeZone: "UTC" });

/** When a day begins: the first moment (ms) that has its date. @param {string} day */
export function beginning(day) {
  const naive = Date.parse(`${day}T00:00:00Z`);
  const dated = new Intl.DateTimeFormat("en-CA", { timeZone: zone });
  let low = naive - 15 * 3600e3, high = naive + 15 * 3600e3;
  while (high - low > 60e3) {
    const middle = (low + high) / 2;
    if (dated.format(middle) >= day) high = middle;
    else low = middle;
  }
  return Math.round(high / 900e3) * 900e3;
}

/** How many hours a day has: 23 and 25 where clocks are changed. @param {string} day */
export const hoursOf = (day) => Math.round((beginning(shifted(day, 1)) - beginning(day)) / 3600e3);
