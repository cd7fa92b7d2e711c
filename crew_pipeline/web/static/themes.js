// @ts-check
/** What the days are about: all themes, or one of them with when it is spoken of, its lines, and what people make of it. */

import { Problem, address, get, send } from "./api.js";
import { bars, hoursGrid } from "./charts.js";
import { $, counted, el, grouped } from "./dom.js";
import { apply } from "./preferences.js";
import { askForTokens } from "./sign_in.js";
import { dayName } from "./time.js";

/** @typedef {{id: number, kind: string, name: string, is_named: boolean, words: string[], segments: number, conversations: number, days: number, first_day: string | null, last_day: string | null, line: {text: string, speaker: string} | null, patterns: {said: string, chance: number}[]}} Theme */

const MOST_BARS = 104, MOST_STEPS = 20, LONGEST = 600;
const parameters = new URLSearchParams(location.search);
const asked = Number(parameters.get("theme")) || null;

/** @param {string} title @param {...(Node | null)} parts */
const part = (title, ...parts) => el("section", { "aria-label": title }, el("h2", { text: title }), ...parts);

/** @param {number} id */
const place = (id) => address("/themes", { theme: id });

/** By chance one time in so many. @param {number} chance */
const odds = (chance) => (chance > 0 ? `by chance 1 in ${grouped(Math.round(1 / Math.max(chance, 1e-9)))}` : "hardly by chance");

/** @param {Theme} theme */
const told = (theme) => theme.patterns.map((one) => el("li", {}, el("span", { text: one.said, title: odds(one.chance) })));

/** Do something, and show what came of it. @param {() => Promise<any>} act */
async function doing(act) {
  try {
    const answer = await act();
    if (answer && answer.id && answer.id !== asked) location.assign(place(answer.id));
    else if (answer && answer.gone) location.assign(address("/themes"));
    else await look();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    say(error.message, "failed");
  }
}

/** @param {string} words @param {string} state */
function say(words, state) {
  $("state").textContent = words;
  $("state").dataset.state = state;
}

/** @param {Theme[]} themes */
function list(themes) {
  say(themes.length ? counted(themes.length, "theme") : "none yet", themes.length ? "ready" : "waiting");
  $("summary").textContent = themes.length ? "What all days are about, most conversations first" : "Themes are found within minutes once there is enough talk that is ready.";
  const rows = themes.map((theme) => el("li", {},
    el("h2", {}, el("a", { href: place(theme.id) }, el("bdi", { text: theme.name }))),
    el("p", { class: "soft" }, `${counted(theme.conversations, "conversation")} on ${counted(theme.days, "day")}`, theme.last_day ? `, last on ${dayName(theme.last_day, "short")}` : ""),
    theme.line ? el("blockquote", { dir: "auto", text: theme.line.text.slice(0, LONGEST) }) : null,
    theme.patterns.length ? el("ul", { class: "patterns" }, ...told(theme)) : null));
  $("themes").replaceChildren(el("ol", { class: "theme-list", "aria-label": "Themes" }, ...rows), ownTheme());
}

function ownTheme() {
  const name = el("input", { id: "new-name", maxlength: 100, required: true });
  const examples = el("textarea", { id: "new-examples", rows: 3, required: true });
  return part("A theme of your own", el("form", { class: "own", onsubmit: (/** @type {Event} */ event) => {
    event.preventDefault();
    const lines = examples.value.split("\n").map((line) => line.trim()).filter((line) => line.length > 2).slice(0, 20);
    void doing(() => send("POST", "/api/themes", { name: name.value.trim(), examples: lines }));
  } },
  el("label", { for: "new-name", text: "Name" }), name,
  el("label", { for: "new-examples", text: "A few lines that speak of it, each on a line of its own" }), examples,
  el("button", { class: "primary", text: "Find it" })));
}

/** @param {any} found @param {Theme[]} others */
function detail(found, others) {
  const theme = /** @type {Theme} */ (found.theme);
  $("name").textContent = theme.name;
  document.title = `${theme.name} · Clean Up Crew`;
  say(counted(theme.conversations, "conversation"), "ready");
  $("summary").textContent = [theme.words.join(", "), theme.first_day ? `from ${dayName(theme.first_day, "short")} to ${dayName(theme.last_day || "", "short")}` : ""].filter(Boolean).join(" · ");
  $("all").hidden = false;
  const byId = new Map(others.map((one) => [one.id, one]));
  const beside = found.together.filter((/** @type {any} */ one) => byId.has(one.theme)).map((/** @type {any} */ one) =>
    el("li", {}, el("a", { href: place(one.theme) }, el("bdi", { text: byId.get(one.theme)?.name })), ` in ${counted(one.conversations, "conversation")}, ${odds(one.chance)}`));
  const timeline = found.timeline.slice(-MOST_BARS);
  $("themes").replaceChildren(
    theme.patterns.length ? part("Worth knowing", el("ul", { class: "patterns" }, ...theme.patterns.map((one) => el("li", {}, el("strong", { text: one.said }), `, ${odds(one.chance)}`)))) : "",
    part("When", timeline.length ? bars({ title: "Conversations by week", labels: timeline.map((/** @type {any} */ one) => one.from), series: [{ name: "conversations", values: timeline.map((/** @type {any} */ one) => one.conversations) }] }) : null, hoursGrid(found.hours, "By weekday, Monday to Sunday, and hour, 0 to 23", "conversation")),
    beside.length ? part("Comes together with", el("ul", {}, ...beside)) : "",
    part("Parts", el("ul", { class: "parts-of" }, ...found.topics.map((/** @type {any} */ topic) => el("li", {}, el("bdi", { text: topic.words.join(", ") || `Part ${topic.id}` }), ` (${counted(topic.segments, "place")}) `,
      found.topics.length > 1 ? el("button", { class: "plain", text: "A theme of its own", onclick: () => void doing(() => send("POST", `/api/themes/${theme.id}/split`, { topics: [topic.id] })) }) : null)))),
    el("section", { id: "developed", "aria-label": "How it developed", hidden: true }, el("h2", { text: "How it developed" }), el("ol", { class: "points" })),
    corrections(theme, others),
    part("What was said", el("ol", { id: "segments" }), el("button", { id: "more", class: "plain", text: "More", hidden: true })));
  void segments(theme, null);
  void developed(theme);
}

const STEPS = /** @type {Record<string, string>} */ ({ again: "said again", changed: "changed", contradicted: "contradicted" });
const KINDS = /** @type {Record<string, string>} */ ({ decision: "decided", task: "to do", question: "asked" });

/** What was decided and asked of it, in its order, and what was changed. @param {Theme} theme */
async function developed(theme) {
  const { steps } = await get(`/api/themes/${theme.id}/development`);
  const told = steps.filter((/** @type {any} */ one) => one.kind !== "key" || one.step === "changed" || one.step === "contradicted").slice(-MOST_STEPS);
  $("developed").hidden = !told.length;
  $("developed").querySelector("ol").replaceChildren(...told.map((/** @type {any} */ one) => el("li", { class: one.step },
    el("p", { class: "told" }, el("a", { href: address("/", { day: one.day, line: one.line_id }) }, dayName(one.day, "short")), [KINDS[one.kind], STEPS[one.step]].filter(Boolean).map((words) => `, ${words}`).join("")),
    el("p", { dir: "auto" }, el("b", { text: `${one.speaker}: ` }), one.text.slice(0, LONGEST)),
    one.of ? el("p", { class: "told", dir: "auto" }, `${dayName(one.of.day, "short")}: ${one.of.text.slice(0, LONGEST)}`) : null)));
}

/** @param {Theme} theme @param {Theme[]} others */
function corrections(theme, others) {
  const name = el("input", { id: "rename", maxlength: 100, value: theme.is_named ? theme.name : "", placeholder: theme.name });
  const into = el("select", { id: "into" }, el("option", { value: "", text: "…" }), ...others.filter((one) => one.id !== theme.id).map((one) => el("option", { value: one.id, text: one.name })));
  const word = el("input", { id: "word", maxlength: 64, pattern: "[^\\s\\/]+" });
  /** @param {string} text @param {Node} field @param {string} label @param {() => Promise<any>} act */
  const form = (text, field, label, act) => el("form", { onsubmit: (/** @type {Event} */ event) => { event.preventDefault(); void doing(act); } },
    el("label", { for: /** @type {HTMLElement} */ (field).id, text: label }), field, el("button", { text }));
  return part("What you make of it", el("div", { class: "corrections" },
    form("Rename", name, "Its name; empty: its own words", () => send("PUT", `/api/themes/${theme.id}/name`, { name: name.value.trim() || null })),
    form("Put into it", into, "Is the same as", () => (into.value ? send("POST", `/api/themes/${theme.id}/merge`, { into: Number(into.value) }) : Promise.resolve(null))),
    form("Forbid", word, "A word that names no theme", () => (word.value ? send("PUT", `/api/themes/words/${encodeURIComponent(word.value)}`) : Promise.resolve(null))),
    el("form", { onsubmit: (/** @type {Event} */ event) => { event.preventDefault(); void doing(() => send("POST", `/api/themes/${theme.id}/split`, {})); } }, el("button", { text: "Divide it where it comes apart" })),
    theme.kind === "found" ? null : el("form", { onsubmit: (/** @type {Event} */ event) => { event.preventDefault(); void doing(async () => { await send("DELETE", `/api/themes/${theme.id}`); return { gone: true }; }); } }, el("button", { text: "Take it back" }))));
}

/** @param {Theme} theme @param {string | null} cursor */
async function segments(theme, cursor) {
  const page = await get(`/api/themes/${theme.id}/segments`, { limit: 10, ...(cursor ? { cursor } : {}) });
  $("segments").append(...page.segments.map((/** @type {any} */ one) => el("li", { class: one.loose ? "loose" : null },
    el("p", { class: "told" }, el("a", { href: address("/", { day: one.day, line: one.lines[0]?.line_id || "" }) }, dayName(one.day, "short")), `, `, el("bdi", { text: one.title || one.session_id }), one.loose ? ", loosely" : ""),
    ...one.lines.map((/** @type {any} */ line) => el("p", { dir: "auto" }, el("b", { text: `${line.speaker}: ` }), line.text.slice(0, LONGEST))))));
  $("more").hidden = !page.next_cursor;
  $("more").onclick = () => void segments(theme, page.next_cursor);
}

async function look() {
  $("days").href = address("/");
  $("all").href = address("/themes");
  try {
    const { themes } = await get("/api/themes");
    if (!asked) return list(themes);
    detail(await get(`/api/themes/${asked}`, { by: "week" }), themes);
  } catch (error) {
    const words = error instanceof Problem ? error.message : "The server does not answer.";
    say("not shown", "offline");
    $("themes").replaceChildren(el("p", { class: "soft", text: words }));
  }
  return undefined;
}

apply();
askForTokens();
void look();
