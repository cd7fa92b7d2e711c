// @ts-check
/** The words of a line: what is new in them, thin marks for what stood before, code in its shape. */

import { ask, get } from "./api.js";
import { changes } from "./diff.js";
import { counted, el, grouped } from "./dom.js";
import { clock } from "./time.js";

/** @typedef {import("./day_model.js").Line} Line */
/** @typedef {import("./day_model.js").Repeat} Repeat */

export const WORD_FOR_WORD = "word for word";

/** What the view of lines does for a message. */
/**
 * @typedef {{find: (lineId: string) => Line | undefined, goTo: (lineId: string) => void,
 *   say: (verdict: any, words: string) => void}} Desk
 */

/** @type {Map<string, Promise<string[] | null>>} */
const wholeTexts = new Map();

/** Passages that are open, by line and place. @type {Set<string>} */
const opened = new Set();

/** Forget what was opened and read: another day is looked at. */
export function forgetMessages() {
  opened.clear();
  wholeTexts.clear();
}

/** Whether an answer leaves words of a line out. @param {Line} line */
export const isShortened = (line) => leftOut(line).length > 0;

/** Open the folded stretches of a line that hold some of its whole words, which are at hand.
 * @param {Line} line @param {string} whole @param {(folded: string) => boolean} holds */
export function openPassages(line, whole, holds) {
  const text = Array.from(whole);
  wholeTexts.set(line.line_id, Promise.resolve(text));
  for (const { start, end } of leftOut(line)) if (holds(text.slice(start, end).join(""))) opened.add(`${line.line_id} ${start}`);
}

/** A line with all its words; null where the server does not answer. @param {Line} line */
export async function wholeWords(line) {
  if (!leftOut(line).length) return line.text;
  return (await wholeText(line.line_id))?.join("") ?? null;
}

/** Every code point of a line, folded or not; null where the server does not answer. @param {string} lineId */
function wholeText(lineId) {
  let found = wholeTexts.get(lineId);
  if (!found) {
    found = get(`/api/lines/${encodeURIComponent(lineId)}`).then((line) => Array.from(line.text), () => null);
    found.then((text) => text || wholeTexts.delete(lineId));
    wholeTexts.set(lineId, found);
    if (wholeTexts.size > 200) wholeTexts.delete(/** @type {string} */ (wholeTexts.keys().next().value));
  }
  return found;
}

/**
 * What the answer leaves out of a line's text: what repeats in it, and a standing text that nobody wants to see.
 * @param {Line} line
 * @returns {Repeat[]}
 */
function leftOut(line) {
  const own = (line.standing?.hidden || []).map((span) => ({
    ...span, own: true, lines: 0, of: { line_id: line.line_id, start: span.start }, reason: line.standing?.name || "" }));
  return [...(line.repeats || []), ...own].sort((one, other) => one.start - other.start);
}

/** Whether a line needs more than its plain text. @param {Line} line */
export const isPlain = (line) => !line.repeats && !line.standing && !line.text.includes("\n");

/**
 * The words of a line, with a mark for each stretch that stood before. Spans count code points of the whole text, of
 * which the answer holds what is not folded.
 * @param {Line} line
 * @param {Desk} desk
 */
export function words(line, desk) {
  const made = el("div", { class: "words" });
  if (isPlain(line)) {
    made.textContent = line.text;
    return made;
  }
  made.classList.add("long");
  if (line.standing) made.append(standing(line, desk));
  if (line.text && sentAgain(line)) made.append(comparison(line, desk));
  const kept = /[\ud800-\udfff]/.test(line.text) ? Array.from(line.text) : line.text;
  /** @param {number} from @param {number} [to] */
  const text = (from, to) => (typeof kept === "string" ? kept.slice(from, to) : kept.slice(from, to).join(""));
  let place = 0, folded = 0;
  for (const repeat of leftOut(line)) {
    const start = repeat.start - folded, before = text(place, start), mark = gap(line, repeat, desk);
    // What folds from the beginning of a row takes rows of its own; what folds within one stays in it.
    if (!before || /[\r\n]$/.test(before)) mark.classList.add("rows");
    made.append(shaped(before.replace(/[\r\n]+$/, "")), mark);
    place = start;
    folded += repeat.end - repeat.start;
  }
  const rest = text(place);
  if (rest.trim()) made.append(shaped(rest));
  return made;
}

/** Text with its indented rows in one width, so that code keeps its shape. @param {string} text */
function shaped(text) {
  const made = document.createDocumentFragment();
  let fenced = false;
  /** @type {HTMLElement | null} */
  let code = null;
  for (const row of text.split(/(?<=\n)/)) {
    const fence = /^\s*```/.test(row);
    const isCode = fenced || fence || /^[ \t]+\S/.test(row) || (code && !row.trim());
    if (fence) fenced = !fenced;
    if (!isCode) code = null;
    else if (!code) made.append((code = el("code")));
    (code || made).append(row);
  }
  return made;
}

/** @param {Line} line @param {Desk} desk */
function standing(line, desk) {
  const { name, characters, messages, key, hidden } = /** @type {NonNullable<Line["standing"]>} */ (line.standing);
  const told = el("p", { class: "why", "data-standing": key },
    `${name}, ${grouped(characters)} characters, in ${messages} messages`,
    el("span", { class: "since", text: since.get(key) || "" }), " ");
  if (!hidden?.length) {
    const hide = () => desk.say({ verdict: "hide", line_id: line.line_id }, "The standing text is left out.");
    told.append(el("button", { class: "plain", text: "leave out", onclick: hide }));
  }
  return told;
}

/** @param {Line} line @param {Repeat} repeat @param {Desk} desk */
function gap(line, repeat, desk) {
  const body = el("div", { class: "folded" });
  const summary = el("summary", {}, `⋯ ${told(repeat, desk)}`);
  if (repeat.within) summary.append(" · within ", el("code", { text: repeat.within }));
  const made = el("details", { class: "gap" }, summary, body);
  const key = `${line.line_id} ${repeat.start}`;
  made.addEventListener("toggle", async () => {
    if (made.open) opened.add(key);
    else opened.delete(key);
    if (!made.open || made.dataset.whole) return;
    body.textContent = "…";
    const whole = await wholeText(line.line_id);
    if (!whole) {
      body.textContent = "The server does not answer; close this and open it again.";
      return;
    }
    made.dataset.whole = "yes";
    body.textContent = whole.slice(repeat.start, repeat.end).join("");
    made.dispatchEvent(new Event("unfolded", { bubbles: true }));
    if (repeat.own) return;
    const always = { verdict: "show", line_id: line.line_id, start: repeat.start, end: repeat.end };
    body.append(
      el("p", { class: "why" },
        el("button", { class: "plain", text: "where it stood first", onclick: () => desk.goTo(repeat.of.line_id) }),
        el("button", { class: "plain", text: "always show this",
          onclick: () => desk.say(always, "This is always shown from now on.") })),
    );
  });
  made.open = opened.has(key);
  return made;
}

/** @param {Repeat} repeat @param {Desk} desk */
function told(repeat, desk) {
  const rows = repeat.own ? "left out" : counted(repeat.lines, "line");
  if (repeat.reason !== WORD_FOR_WORD) return `${rows} of ${repeat.reason}`;
  const target = desk.find(repeat.of.line_id);
  const where = target ? `as at ${clock(target.spoken_at)}, ${target.speaker}` : "said before";
  const others = repeat.other_lines || 0;
  return `${rows} ${where}${others ? ` and in ${counted(others, "other line", "other lines")}` : ""}`;
}

/** The line that most of this one stood in before; null where little did. @param {Line} line */
function sentAgain(line) {
  const rowsAt = new Map();
  for (const one of line.repeats || []) {
    if (one.reason === WORD_FOR_WORD) rowsAt.set(one.of.line_id, (rowsAt.get(one.of.line_id) || 0) + one.lines);
  }
  let found = null, most = 4;
  for (const [lineId, rows] of rowsAt) if (rows > most) [found, most] = [lineId, rows];
  return found !== line.line_id ? found : null;
}

/** @param {Line} line @param {Desk} desk */
function comparison(line, desk) {
  const button = el("button", {
    class: "plain", "aria-expanded": "false", text: "show as changes",
    title: "what was taken out and put in, row by row, against the message that most of it stood in",
  });
  const names = { "-": "out", "+": "in", " ": "kept", "…": "why" };
  button.addEventListener("click", async () => {
    const words = /** @type {HTMLElement} */ (button.closest(".words")), open = words.querySelector(".changes");
    button.setAttribute("aria-expanded", String(!open));
    if (open) return open.remove();
    const texts = await Promise.all([wholeText(/** @type {string} */ (sentAgain(line))), wholeText(line.line_id)]);
    if (!texts[0] || !texts[1] || words.querySelector(".changes")) return;
    const [old, now] = texts.map((text) => /** @type {string[]} */ (text).join("").split(/\r\n|\r|\n/));
    const rows = changes(old, now).map(([sign, row]) => el("div", { class: names[sign], text: `${sign} ${row}` }));
    button.after(el("div", { class: "changes" }, ...rows));
  });
  return el("p", { class: "why" }, button);
}

/** Since when the standing texts of the day have been as they are, in words, by key. @type {Map<string, string>} */
const since = new Map();

/** Learn since when they are, over the days before, and say so wherever one is shown.
 * @param {string} day @param {ParentNode} within */
export async function learnSince(day, within) {
  const response = await ask(`/api/days/${day}/standing`).catch(() => null);
  if (!response?.ok) return;
  since.clear();
  for (const { key, since: first, changed } of (await response.json()).standing) {
    since.set(key, changed ? ` · changed on ${first}` : first === day ? "" : ` · the same since ${first}`);
  }
  for (const one of within.querySelectorAll("[data-standing] .since")) {
    const told = /** @type {HTMLElement} */ (one.parentElement);
    one.textContent = since.get(told.dataset.standing || "") || "";
  }
}
