// @ts-check
/** The days that hold something: which they are, how much was said, how far they are; and the way from one to another. */

import { ask } from "./api.js";
import { $, counted, el, grouped } from "./dom.js";
import { dayName, monthsOn, setZone, shifted, today } from "./time.js";

/** @typedef {{date: string, conversations: number, lines: number, folded: number, state: string}} Day */

export const STATE = {
  ready: "ready", stale: "out of date", waiting: "waiting", processing: "in work", failed: "failed",
};

export class Calendar {
  /** @param {(day: string) => void} open */
  constructor(open) {
    this.open = open;
    /** @type {Map<string, Day>} */
    this.days = new Map();
    /** @type {string[]} */
    this.dates = [];
    this.tag = "";
    this.busiest = 1;
    this.shown = "";
    this.view = "month";
    this.dialog = $("calendar");
    this.dialog.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.onKey(event));
    this.dialog.addEventListener("click", (/** @type {MouseEvent} */ event) => {
      if (event.target === this.dialog) this.dialog.close();
    });
    for (const [id, by] of /** @type {[string, number][]} */ ([["calendar-before", -1], ["calendar-after", 1]])) {
      $(id).onclick = () => this.turn(by);
    }
    $("calendar-month").onclick = () => this.draw("month");
    $("calendar-year").onclick = () => this.draw("year");
    $("calendar-today").onclick = () => this.choose(today());
    $("calendar-close").onclick = () => this.dialog.close();
  }

  /** Read it again; the server says so where nothing has changed. Returns whether something had. */
  async refresh() {
    const response = await ask("/api/calendar", this.tag ? { headers: { "If-None-Match": this.tag } } : {});
    if (!response.ok) return false;
    const tag = response.headers.get("ETag") || "";
    if (tag === this.tag) return false;
    const { days, timezone } = await response.json();
    this.tag = tag;
    setZone(timezone);
    this.days = new Map(days.map((/** @type {Day} */ day) => [day.date, day]));
    this.dates = days.map((/** @type {Day} */ day) => day.date);
    const lines = days.map((/** @type {Day} */ day) => day.lines).sort((/** @type {number} */ a, /** @type {number} */ b) => a - b);
    this.busiest = lines[Math.floor(lines.length * 0.95)] || 1;
    if (this.dialog.open) this.draw();
    return true;
  }

  /** The next day, or the one before, that holds something. @param {string} day @param {number} by */
  beside(day, by) {
    const all = this.dates;
    let low = 0, high = all.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (all[middle] < day) low = middle + 1;
      else high = middle;
    }
    if (by < 0) return all[low - 1] || null;
    return all[all[low] === day ? low + 1 : low] || null;
  }

  /** The day nearest to one that holds something, on the way. @param {string} day @param {number} by */
  near(day, by) {
    return this.days.has(day) ? day : this.beside(day, by) || this.beside(day, -by) || day;
  }

  /** Open it at a day. @param {string} day */
  show(day) {
    this.shown = day;
    this.dialog.showModal();
    this.draw();
    void this.refresh().catch(() => {});
    this.focus(day);
  }

  /** @param {number} by */
  turn(by) {
    this.shown = monthsOn(this.shown, this.view === "year" ? 12 * by : by);
    this.draw();
  }

  /** @param {string} day */
  choose(day) {
    this.dialog.close();
    this.open(day);
  }

  /** @param {string} [view] */
  draw(view = this.view) {
    this.view = view;
    const focused = /** @type {HTMLElement | null} */ (document.activeElement)?.dataset.day;
    $("calendar-month").setAttribute("aria-pressed", String(view === "month"));
    $("calendar-year").setAttribute("aria-pressed", String(view === "year"));
    const year = this.shown.slice(0, 4);
    $("calendar-title").textContent = view === "year" ? year : dayName(this.shown, "month");
    const months = view === "year" ? Array.from({ length: 12 }, (_, n) => `${year}-${String(n + 1).padStart(2, "0")}`) : [this.shown.slice(0, 7)];
    const grids = months.map((month) => this.month(month, view === "year"));
    $("calendar-grid").replaceChildren(...grids);
    $("calendar-grid").className = view;
    const held = this.dates.filter((date) => date.startsWith(view === "year" ? year : this.shown.slice(0, 7)));
    const lines = held.reduce((sum, date) => sum + (this.days.get(date)?.lines || 0), 0);
    $("calendar-told").textContent = held.length
      ? `${counted(held.length, "day")} with ${counted(lines, "line")}` : "Nothing was said in this time.";
    if (focused) this.focus(focused);
  }

  /** @param {string} month YYYY-MM @param {boolean} small */
  month(month, small) {
    const first = `${month}-01`, name = dayName(first, "month");
    const table = el("table", { "aria-label": name });
    if (small) table.append(el("caption", { text: name.split(" ")[0] }));
    else table.append(el("thead", {}, el("tr", {}, ...["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].map((text) => el("th", { scope: "col", text })))));
    const body = el("tbody");
    let date = shifted(first, -((new Date(`${first}T00:00:00Z`).getUTCDay() + 6) % 7));
    while (date < shifted(monthsOn(first, 1), 0)) {
      const week = el("tr");
      for (let n = 0; n < 7; n++, date = shifted(date, 1)) week.append(date.startsWith(month) ? this.cell(date, small) : el("td"));
      body.append(week);
    }
    table.append(body);
    return table;
  }

  /** @param {string} date @param {boolean} small */
  cell(date, small) {
    const day = this.days.get(date);
    const button = el("button", { class: "day", "data-day": date, tabindex: date === this.shown ? "0" : "-1", onclick: () => this.choose(date) },
      el("span", { text: String(Number(date.slice(8))) }));
    const name = dayName(date, "weekday");
    if (date === today()) button.setAttribute("aria-current", "date");
    if (!day) {
      button.append(el("span", { class: "unseen", text: ` ${name}: nothing` }));
      button.classList.add("empty");
      return el("td", {}, button);
    }
    const level = Math.max(1, Math.min(5, Math.ceil((5 * Math.sqrt(day.lines)) / Math.sqrt(this.busiest))));
    button.classList.add(`heat-${level}`, day.state);
    if (!small) button.append(el("small", { text: grouped(day.lines) }));
    const told = `${name}: ${counted(day.conversations, "conversation")}, ${counted(day.lines, "line")}, ${day.folded} folded, ${STATE[/** @type {keyof typeof STATE} */ (day.state)]}`;
    button.append(el("span", { class: "unseen", text: ` ${told}` }));
    button.title = told;
    return el("td", {}, button);
  }

  /** @param {string} day */
  focus(day) {
    this.dialog.querySelector(`[data-day="${day}"]`)?.focus();
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    const focused = /** @type {HTMLElement} */ (event.target).dataset?.day;
    const steps = /** @type {Record<string, number>} */ ({ ArrowLeft: -1, ArrowRight: 1, ArrowUp: -7, ArrowDown: 7, h: -1, l: 1, k: -7, j: 7 });
    event.stopPropagation();
    if (!focused) return;
    if (event.key in steps) this.shown = shifted(focused, steps[event.key]);
    else if (event.key === "PageUp") this.shown = monthsOn(focused, -1);
    else if (event.key === "PageDown") this.shown = monthsOn(focused, 1);
    else return;
    event.preventDefault();
    this.draw();
    this.focus(this.shown);
  }
}
