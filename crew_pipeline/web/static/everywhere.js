// @ts-check
/** What was said in all days in these words or in others that mean the same, as somebody types. */

import { address, get, root } from "./api.js";
import { bars, hoursGrid } from "./charts.js";
import { $, counted, el, grouped, later } from "./dom.js";
import { dayName } from "./time.js";

/** @typedef {{day: string, line_id: string, speaker: string, crew: string, title: string | null, before: Beside | null, after: Beside | null}} Place */
/** @typedef {{speaker: string, text: string}} Beside */
/** @typedef {{text: string, highlights: [number, number][], times: number, days: number, found_by: string[], places: Place[], how?: string}} Found */

const SHOWN = 8, LONGEST = 240, AFTER_MS = 140, AGAIN_MS = 900, MOST_RECALLED = 3;

export class Everywhere {
  /** @param {(day: string, how: {line: string}) => void} open */
  constructor(open) {
    this.open = open;
    this.asked = 0;
    this.searched = "";
    /** @type {string | null} */
    this.cursor = null;
    this.list = $("found-list");
    this.input = $("find-words");
    this.input.addEventListener("input", later(() => void this.search(), AFTER_MS));
    this.input.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "ArrowDown" && this.list.firstElementChild) {
        event.preventDefault();
        this.links()[0].focus();
      }
    });
    $("found").addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.onKey(event));
    this.list.addEventListener("click", (/** @type {MouseEvent} */ event) => this.onClick(event));
    $("found-more").onclick = () => void this.more();
  }

  /** @returns {HTMLAnchorElement[]} */
  links() {
    return [...this.list.querySelectorAll("a")];
  }

  clear() {
    this.asked++;
    this.searched = "";
    this.list.replaceChildren();
    $("found").hidden = true;
  }

  async search() {
    const words = this.input.value.trim();
    if (words === this.searched) return;
    if (words.length < 2) return this.clear();
    const mine = ++this.asked;
    this.searched = words;
    // A space at the end says that the last word is whole.
    const answer = await get("/api/search", { q: this.input.value.slice(0, 1000), limit: SHOWN }).catch(() => null);
    if (mine !== this.asked || $("find-box").hidden) return;
    // Days are being taken in: what is not found yet may be in a moment, unless somebody has gone into the list.
    if (answer?.indexing) setTimeout(() => mine === this.asked && !this.list.contains(document.activeElement) && (this.searched = "", void this.search()), AGAIN_MS);
    this.list.replaceChildren();
    this.show(answer);
    $("found").hidden = false;
    $("found-told").textContent = !answer ? "Search is not to be had now."
      : answer.results.length ? `${grouped(answer.total)}${answer.total === 100 ? " or more" : ""} in all days${behind(answer)}`
      : answer.indexing ? "The days are being taken in; nothing yet." : "Nothing in all days.";
  }

  async more() {
    const mine = this.asked;
    const answer = await get("/api/search", { q: this.input.value.slice(0, 1000), limit: SHOWN, cursor: this.cursor }).catch(() => null);
    if (mine !== this.asked || !answer) return;
    const first = this.links().length;
    this.show(answer);
    this.links()[first]?.focus();
  }

  /** What other conversations speak of the same. @param {string} id @param {string} title */
  async related(id, title) {
    const mine = ++this.asked;
    this.searched = "";
    const answer = await get(`/api/conversations/${encodeURIComponent(id)}/related`).catch(() => null);
    if (mine !== this.asked || $("find-box").hidden) return;
    const results = (answer?.related || []).map((/** @type {any} */ one) => ({
      text: one.pairs[0].other_text, highlights: [], times: 1, days: 1, found_by: ["meaning"],
      places: [{ ...one, line_id: one.pairs[0].other_line_id, speaker: one.title || one.session_id, before: null, after: null }],
    }));
    const before = await this.recalled(id);
    if (mine !== this.asked || $("find-box").hidden) return;
    this.list.replaceChildren();
    this.show({ results: [...before, ...results] });
    $("found").hidden = false;
    $("found-told").textContent = !answer ? "Search is not to be had now."
      : results.length || before.length ? `Speak of the same as ${title}${behind(answer)}` : `Nothing else speaks of the same as ${title}${behind(answer)}.`;
    this.links()[0]?.focus();
  }

  /** Where the same was said as in a line: when, how often, and in which words. @param {string} lineId */
  async said(lineId) {
    const mine = ++this.asked;
    this.searched = "";
    const answer = await get(`/api/lines/${encodeURIComponent(lineId)}/said`).catch(() => null);
    if (mine !== this.asked || $("find-box").hidden) return;
    const places = (answer?.places || []).filter((/** @type {any} */ one) => one.line_id !== lineId);
    this.list.replaceChildren();
    this.show({ results: places.map((/** @type {any} */ one) => ({ text: one.text, highlights: [], times: 1, days: 1, found_by: ["meaning"], places: [{ ...one, before: null, after: null }] })) });
    if (answer && places.length) {
      $("found-chart").replaceChildren(
        bars({ title: "By week", labels: answer.weeks.map((/** @type {any} */ one) => one.from), series: [{ name: "times", values: answer.weeks.map((/** @type {any} */ one) => one.times) }] }),
        hoursGrid(answer.hours, "By weekday, Monday to Sunday, and hour, 0 to 23", "time"));
    }
    $("found").hidden = false;
    $("found-told").textContent = !answer ? "This is not to be had now."
      : places.length ? `Said ${grouped(answer.times)} times on ${counted(answer.days, "day")}, first ${dayName(answer.first, "short")}${behind(answer)}`
      : `Said nowhere else${behind(answer)}.`;
    this.links()[0]?.focus();
  }

  /** What was said before about a conversation: decided, still open. @param {string} id */
  async recalled(id) {
    const answer = await get(`/api/conversations/${encodeURIComponent(id)}/recall`).catch(() => null);
    if (!answer) return [];
    /** @param {any[]} points @param {string} how */
    const rows = (points, how) => points.slice(0, MOST_RECALLED).map((one) => ({
      text: one.text, highlights: [], times: 1, days: 1, found_by: ["meaning"], how,
      places: [{ ...one, before: null, after: null }],
    }));
    return [...rows(answer.decided, "decided"), ...rows(answer.open, "still open"), ...rows(answer.tasks, "to do")];
  }

  /** @param {any} answer */
  show(answer) {
    $("found-chart").replaceChildren();
    this.list.append(...(answer?.results || []).map((/** @type {Found} */ found) => this.row(found)));
    this.cursor = answer?.next_cursor || null;
    $("found-more").hidden = !this.cursor;
  }

  /** @param {Found} found */
  row(found) {
    const [place] = found.places;
    const often = found.times > 1 ? `, ${grouped(found.times)} times on ${found.days === 1 ? "one day" : `${grouped(found.days)} days`}` : "";
    const link = el("a", { href: `${root}${address("/", { day: place.day, line: place.line_id }).slice(root.length)}` },
      el("span", { class: "found-where" }, found.how ? el("b", { text: `${found.how}: ` }) : null, `${dayName(place.day, "short")}, `, el("bdi", { text: place.speaker }), often),
      el("span", { class: "found-text", dir: "auto" }, ...marked(found)));
    link.dataset.day = place.day;
    link.dataset.line = place.line_id;
    const beside = [place.before, place.after].filter(Boolean).map((line) => `${line?.speaker}: ${line?.text}`).join("\n");
    link.title = beside ? `Beside it:\n${beside.slice(0, 400)}` : "";
    return el("li", {}, link);
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    const links = this.links(), at = links.indexOf(/** @type {any} */ (document.activeElement));
    if (event.key === "Escape") {
      event.preventDefault();
      $("find-close").click();
    }
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    event.preventDefault();
    if (event.key === "ArrowUp" && at <= 0) this.input.focus();
    else links[Math.min(links.length - 1, at + (event.key === "ArrowDown" ? 1 : -1))]?.focus();
  }

  /** @param {MouseEvent} event */
  onClick(event) {
    const link = /** @type {HTMLElement} */ (event.target).closest("a");
    if (!link || event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
    event.preventDefault();
    this.open(link.dataset.day || "", { line: link.dataset.line || "" });
  }
}

/** @param {any} answer */
const behind = (answer) => (answer.indexing ? "; newer ones are being taken in" : "");

/** The text around the first of its marks. Marks count code points, not the units of strings. @param {Found} found */
function marked(found) {
  const letters = Array.from(found.text), first = found.highlights[0]?.[1] > LONGEST ? found.highlights[0][0] - LONGEST / 2 : 0;
  const last = Math.min(letters.length, first + LONGEST), parts = [first ? "…" : ""];
  /** @type {(string | Node)[]} */
  const made = parts;
  let at = first;
  for (const [start, end] of found.highlights) {
    if (start < at || end > last) continue;
    made.push(letters.slice(at, start).join(""), el("mark", { text: letters.slice(start, end).join("") }));
    at = end;
  }
  return [...made, letters.slice(at, last).join(""), last < letters.length ? "…" : ""].map((part) => (typeof part === "string" ? document.createTextNode(part) : part));
}
