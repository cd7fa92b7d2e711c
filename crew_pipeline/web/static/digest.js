// @ts-check
/** What a week or a day comes to: what was decided, what is to be done, what is open, and what it was about. */

import { Problem, address, get } from "./api.js";
import { $, counted, el, grouped } from "./dom.js";
import { apply } from "./preferences.js";
import { askForTokens } from "./sign_in.js";
import { dayName, isDay, shifted, today } from "./time.js";

/** @typedef {{line_id: string, day: string, speaker: string, text: string, times: number, title: string | null, session_id: string, crew: string, who?: string | null, due?: string | null, due_on?: string | null}} Point */

const LONGEST = 500;
const parameters = new URLSearchParams(location.search);
const by = parameters.get("by") === "day" ? "day" : "week";
const steps = by === "week" ? 7 : 1;

/** The Monday of a day's week. @param {string} day */
const monday = (day) => shifted(day, -((new Date(`${day}T00:00:00Z`).getUTCDay() + 6) % 7));

/** @param {string} day @param {string} [how] */
const place = (day, how = by) => address("/digest", { day, by: how });

/** @param {string} title @param {...(Node | null)} parts */
const part = (title, ...parts) => el("section", { "aria-label": title }, el("h2", { text: title }), ...parts);

/** @param {Point} point */
function row(point) {
  const told = [
    point.who ? el("strong", {}, el("bdi", { text: point.who })) : null,
    point.due ? el("span", { class: "due", text: point.due, title: point.due_on ? dayName(point.due_on, "short") : null }) : null,
    el("a", { href: address("/", { day: point.day, line: point.line_id }) }, by === "week" ? dayName(point.day, "weekday") : "in its place"),
    el("bdi", { text: point.title || point.session_id }),
    point.times > 1 ? el("span", { text: `${grouped(point.times)} times` }) : null,
  ].filter((one) => one !== null);
  return el("li", {}, el("p", { dir: "auto" }, el("b", { text: `${point.speaker}: ` }), point.text.slice(0, LONGEST), point.text.length > LONGEST ? "…" : ""),
    el("p", { class: "told" }, ...told.flatMap((one, at) => [at ? " · " : null, one])));
}

/** @param {string} title @param {Point[]} points @param {string} kind */
const points = (title, points, kind) => (points.length ? part(title, el("ol", { class: `points ${kind}` }, ...points.map(row))) : null);

/** @param {any} prose */
function inProse(prose) {
  if (!prose || !prose.sentences.length) return null;
  const dropped = prose.dropped.length ? el("details", {}, el("summary", { text: `${counted(prose.dropped.length, "sentence")} left out, which the lines do not bear out` }),
    el("ul", {}, ...prose.dropped.map((/** @type {any} */ one) => el("li", { text: `${one.text} (${one.why})` })))) : null;
  return part("In short", el("p", { class: "prose", dir: "auto" }, ...prose.sentences.flatMap((/** @type {any} */ one) => [`${one.text} `])),
    el("p", { class: "told", text: `Told by ${prose.model} from the sentences below.` }), dropped);
}

/** @param {any[]} themes */
function about(themes) {
  if (!themes.length) return null;
  const most = Math.max(...themes.map((one) => one.conversations));
  return part("What it was about", el("ul", { class: "about" }, ...themes.map((one) => el("li", {},
    el("a", { href: address("/themes", { theme: one.id }) }, el("bdi", { text: one.name })),
    el("meter", { min: 0, max: most, value: one.conversations, "aria-hidden": "true" }),
    el("span", { class: "told", text: `${counted(one.conversations, "conversation")}${one.before ? `, ${grouped(one.before)} the ${by} before` : `, none the ${by} before`}` })))));
}

/** @param {string} words @param {string} state */
function say(words, state) {
  $("state").textContent = words;
  $("state").dataset.state = state;
}

/** @param {string} first */
function head(first) {
  const name = by === "week" ? `Week of ${dayName(first, "date")}` : dayName(first, "short");
  $("name").textContent = name;
  document.title = `${name} · Clean Up Crew`;
  $("before").href = place(shifted(first, -steps));
  $("after").href = place(shifted(first, steps));
  $("days").href = address("/", { day: first });
  $("themes").href = address("/themes");
  $("other").href = place(first, by === "week" ? "day" : "week");
  $("other").textContent = by === "week" ? "By day" : "By week";
}

/** @param {any} found */
function shown(found) {
  const behind = found.missing_days ? `; ${counted(found.missing_days, "day")} not in it yet` : "";
  say(found.conversations ? (found.missing_days ? "being made" : "ready") : "empty", found.missing_days ? "waiting" : "ready");
  $("summary").textContent = found.conversations ? `${counted(found.conversations, "conversation")}, ${counted(found.lines, "line")}${behind}` : "Nothing was said.";
  const parts = [inProse(found.prose), points("Decided", found.decisions, "decided"), points("To do", found.tasks, "to-do"),
    points("Still open", found.questions, "open"), about(found.themes), points("What else was said", found.key_points, "said")].filter(Boolean);
  $("digest").replaceChildren(.../** @type {Node[]} */ (parts.length ? parts : [el("p", { class: "soft", text: found.conversations ? "Nothing to tell yet: days are summarised within minutes of being ready." : "" })]));
}

async function look() {
  const asked = parameters.get("day");
  const latest = asked && isDay(asked) ? asked : ((await get("/api/days/latest").catch(() => null))?.day || today());
  const first = by === "week" ? monday(latest) : latest, last = shifted(first, steps - 1);
  head(first);
  try {
    const found = await get("/api/summary", { from: first, to: last });
    shown(found);
    // Prose takes its time; what it rests on is there meanwhile.
    if (found.conversations) {
      const { prose } = await get("/api/summary", { from: first, to: last, prose: true });
      if (prose?.sentences.length) shown({ ...found, prose });
    }
  } catch (error) {
    say("not shown", "offline");
    $("digest").replaceChildren(el("p", { class: "soft", text: error instanceof Problem ? error.message : "The server does not answer." }));
  }
}

apply();
askForTokens();
void look();
