// @ts-check
/** The day page: which day is looked at, how far it is, and the way to other days. */

import { About, exportLink } from "./about.js";
import { Problem, Unreachable, address, ask, get, root, send } from "./api.js";
import { Calendar } from "./calendar.js";
import { DayModel, percent } from "./day_model.js";
import { $, counted, el, grouped, whenIdle } from "./dom.js";
import { Everywhere } from "./everywhere.js";
import { Find } from "./find.js";
import { Follower } from "./follow.js";
import { listen } from "./keys.js";
import { LineList } from "./list.js";
import { forgetMessages, learnSince, wholeWords } from "./message.js";
import { say } from "./message_bar.js";
import { apply } from "./preferences.js";
import { Settings } from "./settings.js";
import { askForTokens } from "./sign_in.js";
import { clock, dayName, isDay, monthsOn, setZone, shifted, today, zoneName } from "./time.js";
import { Verdicts, sentence } from "./verdicts.js";

/** @typedef {{day: string, status: number, tag: string, answer: any}} Answer */

const VIEW = { view: "full", passages: "omit", wait_s: "0" };
const KEPT_DAYS = 6, LOOK_AGAIN_MS = 60000, RETRY_MS = 1000, LONGEST_RETRY_MS = 30000, TOGETHER_MS = 150;

/** Days that were asked for, the latest last. @type {Map<string, Answer>} */
const known = new Map();
const place = new URLSearchParams(location.search);
let day = "";
/** The address of a line of this day, but for the line. */
let linkBase = "";
let showing = 0;
/** Answers are drawn in the order in which they were asked for: how often was asked, and for what is drawn. */
let looks = 0, drawn = 0;
let failures = 0, retryTimer = 0, toldTimer = 0;
/** Whether the newest lines of this day could not be made; what is there stays. */
let gaveUp = false;
/** @type {Follower | null} */
let follower = null;

const list = new LineList($("conversations"), {
  say: (verdict, words) => void verdicts.say(verdict, words),
  sameAs: (line) => verdicts.sameAs(line),
  copy: (line) => void copy(line),
  link: (line) => void toClipboard(new URL(linkBase + encodeURIComponent(line.line_id), location.href).href, "The link is copied."),
  linkTo: (lineId) => linkBase + encodeURIComponent(lineId),
  onLine: (lineId) => {
    place.set("line", lineId);
    keepAddress();
  },
  openDay: (other) => open(other),
});
const verdicts = new Verdicts(() => day, () => look(day, showing, true));
const calendar = new Calendar((other) => open(other));
const everywhere = new Everywhere((other, how) => (other === day && list.goTo(how.line)) || open(other, how));
const find = new Find(list, () => everywhere.clear());
const about = new About(list, calendar, (other) => open(other));
const settings = new Settings(() => day, () => list.model && list.show(list.model), () => look(day, showing, true), (lineId) => void list.goTo(lineId));

/** @param {import("./day_model.js").Line} line */
async function copy(line) {
  const whole = await wholeWords(line);
  if (whole === null) return say("The server does not answer, and this message is longer than what is shown; try again.");
  await toClipboard(`${clock(line.spoken_at)} ${line.speaker}: ${whole}`, "Copied.");
}

/** @param {string} text @param {string} done */
async function toClipboard(text, done) {
  try {
    await navigator.clipboard.writeText(text);
    say(done);
  } catch {
    say("The browser does not let this page copy; select the text instead.");
  }
}

/** The address says what is shown. */
function keepAddress() {
  history.replaceState(null, "", `${root}/?${place}`);
  const line = new URLSearchParams(place);
  line.delete("line");
  linkBase = `${root}/?${line}&line=`;
}

// Which day

/** Go to another day. @param {string} other @param {{keep?: boolean, line?: string}} [how] */
function open(other, { keep = true, line = "" } = {}) {
  if (!isDay(other)) return say(`${other} is no day; write YYYY-MM-DD.`);
  day = other;
  const mine = ++showing;
  follower?.stop();
  follower = null;
  clearTimeout(retryTimer);
  failures = 0;
  gaveUp = false;
  if (!verdicts.leave()) say("");
  list.opened.clear();
  list.active = null;
  forgetMessages();
  delete document.body.dataset.shown;
  place.set("day", other);
  if (line) place.set("line", line);
  else place.delete("line");
  if (keep) history.pushState(null, "", `${root}/?${place}`);
  keepAddress();
  name(other);
  progress(null);
  const ready = known.get(other);
  if (ready) draw(ready, mine);
  else {
    chip("…", "");
    summary("");
  }
  if (!line) window.scrollTo(0, 0);
  void follow(other, mine, line);
}

/** @param {string} other */
function name(other) {
  const title = dayName(other, "short");
  $("day-name").textContent = title;
  document.title = `${title} · Clean Up Crew`;
  // Not disabled: who has gone to them would lose their place.
  $("before").setAttribute("aria-disabled", String(Boolean(calendar.tag) && !calendar.beside(other, -1)));
  $("after").setAttribute("aria-disabled", String(Boolean(calendar.tag) && !calendar.beside(other, 1)));
  for (const link of document.querySelectorAll("[data-export]")) {
    const [form, view] = (/** @type {HTMLElement} */ (link).dataset.export || "").split(" ");
    /** @type {HTMLAnchorElement} */ (link).href = exportLink(other, view === "full")(form);
  }
}

/** Who is quicker than the calendar would be led to a day on which nothing was said. */
const listed = async () => calendar.tag || calendar.refresh().catch(() => {});

/** The next day that holds something; simply the next where that cannot be known. @param {number} by */
async function move(by) {
  await listed();
  const other = calendar.tag ? calendar.beside(day, by) : shifted(day, by);
  if (other) open(other);
  else say(by < 0 ? "Nothing was said before this day." : "Nothing has been said after this day.");
}

// What is known of it

/** Ask for a day, follow it until it is ready, and look again from time to time. @param {string} other @param {number} mine @param {string} line */
async function follow(other, mine, line) {
  await look(other, mine);
  if (mine !== showing) return;
  if (line && !list.goTo(line)) say("This line is not in the day any more.");
  void calendar.refresh().then(() => mine === showing && (name(other), prefetch(other)), () => {});
  const told = () => get(`/api/days/${other}/parts`).then(({ parts }) => mine === showing && list.linkParts(parts), () => {});
  whenIdle(() => mine === showing && (void told(), void learnSince(other, list.root)));
}

/**
 * Ask for a day once, show it, and follow it where it is not ready.
 * @param {string} other @param {number} mine @param {boolean} [atOnce] whether somebody has just changed it
 * @returns {Promise<void>}
 */
async function look(other, mine, atOnce = false) {
  const number = ++looks;
  clearTimeout(retryTimer);
  let asked;
  try {
    asked = await fetched(other);
  } catch (error) {
    if (mine !== showing || number < drawn) return;
    const passes = error instanceof Unreachable || (error instanceof Problem && error.status >= 500);
    if (!passes) return refuse(sentence(error));
    const words = error instanceof Unreachable ? "The server does not answer." : sentence(error);
    chip("offline", "offline", `${words} What you see stays; the page asks again.`);
    // The lines of another day do not stand under the name of this one.
    if (list.model && list.model.day !== other) {
      list.root.replaceChildren();
      list.model = null;
      summary(words);
    }
    const pause = Math.min(LONGEST_RETRY_MS, RETRY_MS * 2 ** failures++);
    retryTimer = window.setTimeout(() => mine === showing && void look(other, mine), pause);
    return;
  }
  // An answer that was overtaken says what is not so any more.
  if (mine !== showing || number < drawn) return;
  drawn = number;
  failures = 0;
  draw(asked, mine, atOnce);
  const { answer, status } = asked;
  if ((status === 202 || answer.metadata.stale) && !gaveUp) {
    follower ||= new Follower(other, (told) => onTold(told, other, mine), (how) => onConnection(how));
    return;
  }
  follower?.stop();
  follower = null;
  progress(null);
}

/** @param {string} other @returns {Promise<Answer>} */
async function fetched(other) {
  const before = known.get(other);
  const response = await ask(`/api/days/${other}/conversations`, before?.tag ? { headers: { "If-None-Match": before.tag } } : {}, VIEW);
  if (response.status === 304 && before) return before;
  const answer = await response.json().catch(() => ({}));
  if (!answer.metadata) throw new Problem(response.status, answer.detail || "This day cannot be shown.");
  const found = { day: other, status: response.status, tag: response.headers.get("ETag") || "", answer };
  known.delete(other);
  known.set(other, found);
  if (known.size > KEPT_DAYS) known.delete(/** @type {string} */ (known.keys().next().value));
  return found;
}

/** Have the days beside this one at hand. @param {string} other */
function prefetch(other) {
  whenIdle(async () => {
    for (const by of [1, -1]) {
      const beside = calendar.beside(other, by);
      const there = calendar.days.get(beside || "");
      if (!beside || known.has(beside) || there?.state !== "ready" || there.lines > 5000) continue;
      if (day !== other) return;
      await fetched(beside).catch(() => null);
    }
  });
}

/** @param {Answer} asked @param {number} mine @param {boolean} [atOnce] */
function draw(asked, mine, atOnce = false) {
  if (mine !== showing) return;
  const { answer } = asked, conversations = answer.success ? answer.data : answer.fallback_data;
  setZone(answer.metadata.timezone);
  if (list.model?.day === asked.day && list.model.holdsTheSame(conversations)) {
    if (list.model.conversations !== conversations) list.fold(conversations, answer.metadata, atOnce);
  } else list.show(new DayModel(asked.day, conversations, answer.metadata));
  find.again();
  document.body.dataset.shown = asked.day;
  $("nothing").hidden = conversations.length > 0;
  $("nothing").textContent = `Nothing was said on ${dayName(asked.day, "date")}.`;
  tellState(answer, conversations);
}

/** @param {any} answer @param {any[]} conversations */
function tellState(answer, conversations) {
  const { metadata } = answer, model = /** @type {DayModel} */ (list.model);
  const share = percent(metadata.hidden_character_count, metadata.character_count);
  const folded = model.hiddenCount ? `${grouped(model.hiddenCount)} folded${share ? ` (${share}% of the characters)` : ""}`
    : share ? `${share}% of the characters folded` : "";
  const parts = conversations.length
    ? [counted(conversations.length, "conversation"), counted(model.lineCount, "line"), folded, zoneName(), howMade(metadata)] : [zoneName()];
  summary(parts.filter(Boolean).join(" · "));
  $("failure").hidden = true;
  if (!answer.success) return failed(answer.error);
  const since = howMade(metadata);
  if (metadata.stale) chip("out of date", "stale", since);
  else if (metadata.processing_status !== "completed") chip(metadata.preliminary ? "first look" : "in work", "processing", "What repeats is being found.");
  else if (!conversations.length) chip("empty", "", "Nothing was said.");
  else chip("ready", "ready", `${since}${metadata.cache_hit ? "" : ", just now"}`);
}

/** When a day was made, and why it is made again. @param {any} metadata */
function howMade(metadata) {
  if (!metadata.processed_at) return "";
  const since = `made ${clock(metadata.processed_at)}`;
  if (!metadata.stale) return since;
  return gaveUp ? `${since}; its newest lines could not be processed` : `${since}; made again, since lines came or the engine changed`;
}

/** @param {string} error */
function failed(error) {
  chip("failed", "failed", error);
  progress(null);
  const again = el("button", { text: "Try again", onclick: async () => {
    await send("POST", `/api/semantic/retry/${day}`).catch((problem) => say(sentence(problem)));
    known.delete(day);
    gaveUp = false;
    await look(day, showing);
    list.root.focus({ preventScroll: true });
  } });
  $("failure").replaceChildren(el("p", {}, "This day could not be processed; here is every line as it was said. ", el("span", { class: "soft", text: error })), again);
  $("failure").hidden = false;
}

/** @param {string} detail */
function refuse(detail) {
  chip("not shown", "failed", detail);
  summary(detail);
  document.body.dataset.shown = "";
  list.root.replaceChildren();
  list.model = null;
}

// How far it is

/** @param {import("./follow.js").Told} told @param {string} other @param {number} mine */
function onTold(told, other, mine) {
  if (mine !== showing) return;
  if (told.type === "processing_progress" || told.type === "snapshot") {
    const left = told.estimated_remaining_s ? `, about ${Math.ceil(told.estimated_remaining_s)} s left` : "";
    if (told.message || told.stage) summary(`${told.message || told.stage}${left}`);
    if (told.progress) progress(told.progress);
  }
  // What is told first may be of an earlier time: whether the day is over, only the day itself says.
  const over = told.type === "processing_completed" || told.type === "processing_failed" || told.preliminary ||
    (told.type === "snapshot" && ["completed", "failed"].includes(told.semantic_status || ""));
  if (!over) return;
  if (told.type === "snapshot") gaveUp = told.semantic_status === "failed";
  clearTimeout(toldTimer);
  toldTimer = window.setTimeout(() => {
    if (mine === showing) void look(other, mine).then(() => calendar.refresh()).catch(() => {});
  }, TOGETHER_MS);
}

/** @param {"live" | "polling" | "offline"} how */
function onConnection(how) {
  if (how === "offline") chip("offline", "offline", "The server does not answer; the page asks again.");
  else if ($("state").dataset.state === "offline") void look(day, showing);
}

/** @param {number | null} fraction */
function progress(fraction) {
  const bar = $("bar");
  bar.classList.toggle("on", fraction !== null);
  if (fraction !== null) bar.value = fraction;
}

/** @param {string} words @param {string} state @param {string} [title] */
function chip(words, state, title = "") {
  const shown = $("state");
  if (shown.textContent !== words) shown.textContent = words;
  shown.dataset.state = state;
  shown.title = title;
}

/** @param {string} words */
function summary(words) {
  $("summary").textContent = words;
}

// What somebody does

function setFull(/** @type {boolean} */ full) {
  list.setFull(full);
  $("full").setAttribute("aria-pressed", String(full));
  if (full) place.set("view", "full");
  else place.delete("view");
  keepAddress();
}

/** @param {number} by @param {"week" | "month"} what */
async function jump(by, what) {
  await listed();
  open(calendar.near(what === "week" ? shifted(day, 7 * by) : monthsOn(day, by), by));
}

$("before").onclick = () => void move(-1);
$("after").onclick = () => void move(1);
$("day-name").onclick = () => calendar.show(day);
$("full").onclick = () => setFull(!list.full);
$("open-find").onclick = () => find.open();
$("open-about").onclick = () => list.model && about.show(list.model);
$("open-settings").onclick = () => settings.show();
$("open-help").onclick = () => $("help").showModal();
$("help-close").onclick = () => $("help").close();
$("print").onclick = () => window.print();
for (const dialog of document.querySelectorAll("dialog")) {
  dialog.addEventListener("keydown", (event) => event.key === "?" && dialog.id === "help" && dialog.close());
}
document.addEventListener("click", (event) => {
  const row = /** @type {HTMLElement} */ (event.target).closest(".line");
  const line = row && list.model?.lines.get(row.id);
  if (verdicts.first && line && line !== verdicts.first) {
    event.preventDefault();
    event.stopPropagation();
    verdicts.pick(line);
  }
}, true);

listen([
  { keys: ["j"], does: "next line", act: () => list.step(1) },
  { keys: ["k"], does: "line before", act: () => list.step(-1) },
  { keys: ["n"], does: "next conversation", act: () => list.stepConversation(1) },
  { keys: ["p"], does: "conversation before", act: () => list.stepConversation(-1) },
  { keys: ["h", "ArrowLeft"], does: "day before that holds something", act: () => void move(-1) },
  { keys: ["l", "ArrowRight"], does: "next day that holds something", act: () => void move(1) },
  { keys: ["H"], does: "a week back", act: () => void jump(-1, "week") },
  { keys: ["L"], does: "a week on", act: () => void jump(1, "week") },
  { keys: ["["], does: "a month back", act: () => void jump(-1, "month") },
  { keys: ["]"], does: "a month on", act: () => void jump(1, "month") },
  { keys: ["t"], does: "today", act: () => open(today()) },
  { keys: ["g d"], does: "go to a day (calendar)", act: () => calendar.show(day) },
  { keys: ["o"], does: "open or close what a line stands for", act: () => openActive() },
  { keys: ["x"], does: "not the same", act: () => list.act("apart") },
  { keys: ["s"], does: "same as another line", act: () => list.act("same") },
  { keys: ["u"], does: "undo the last verdict", act: () => void verdicts.undo() },
  { keys: ["c"], does: "copy the line", act: () => list.act("copy") },
  { keys: ["y"], does: "copy the line's address", act: () => list.act("link") },
  { keys: ["f"], does: "every line, or only what is new", act: () => setFull(!list.full) },
  { keys: ["/"], does: "find", act: () => find.open() },
  { keys: ["r"], does: "what speaks of the same, in all days", act: () => related() },
  { keys: ["e"], does: "where else this was said, in all days", act: () => saidAgain() },
  { keys: ["w"], does: "what the week comes to", act: () => location.assign(address("/digest", { day })) },
  { keys: ["m"], does: "themes of all days", act: () => location.assign(address("/themes")) },
  { keys: ["z"], does: "fold or open the conversation", act: () => list.active && list.toggleConversation(list.active.place.conversation) },
  { keys: ["i"], does: "about this day", act: () => list.model && about.show(list.model) },
  { keys: [","], does: "settings", act: () => settings.show() },
  { keys: ["?"], does: "this help", act: () => $("help").showModal() },
], {
  onEscape: () => (menu.open && !(menu.open = false)) || verdicts.leave() || (!$("find-box").hidden && (find.close(), true)),
  onEnter: () => (verdicts.first && list.active ? verdicts.pick(list.active) : openActive()),
});

/** What speaks of the same as the conversation that is looked at. */
function related() {
  const line = list.active || list.firstInView(), conversation = line?.place.conversation;
  if (!conversation) return;
  find.open();
  void everywhere.related(conversation.id, conversation.title || conversation.session_id);
}

/** Where else the same was said as in the line that is looked at. */
function saidAgain() {
  const line = list.active || list.firstInView();
  if (!line) return;
  find.open();
  void everywhere.said(line.line_id);
}

/** Open what the focused gap or the active line hides. */
function openActive() {
  const gap = /** @type {HTMLElement | null} */ (document.activeElement)?.dataset?.gap;
  if (gap) list.toggle(gap);
  else list.act("open");
}

const menu = /** @type {HTMLDetailsElement} */ (document.querySelector(".menu"));
document.addEventListener("click", (event) => {
  const inside = menu.contains(/** @type {Node} */ (event.target));
  if (menu.open && (!inside || /** @type {HTMLElement} */ (event.target).closest("a, button"))) menu.open = false;
});
window.addEventListener("beforeprint", () => list.drawAll());
window.addEventListener("popstate", () => {
  const asked = new URLSearchParams(location.search);
  const other = asked.get("day") || day, full = asked.get("view") === "full";
  if (full !== list.full) setFull(full);
  if (other !== day) open(other, { keep: false, line: asked.get("line") || "" });
});
// Today goes on while it is looked at; other days change seldom, and are looked at when somebody comes back.
document.addEventListener("visibilitychange", () => !document.hidden && !follower && day && void look(day, showing));
setInterval(() => !document.hidden && !follower && day >= shifted(today(), -1) && void look(day, showing), LOOK_AGAIN_MS);
window.addEventListener("online", () => day && void look(day, showing));

async function start() {
  apply();
  askForTokens();
  setZone(document.body.dataset.zone || "");
  if (place.get("view") === "full") list.setFull(true), $("full").setAttribute("aria-pressed", "true");
  const asked = place.get("day") || document.body.dataset.day;
  if (asked && isDay(asked)) return open(asked, { keep: false, line: place.get("line") || "" });
  const latest = await get("/api/days/latest").catch(() => null);
  open(latest?.day || today(), { keep: false });
  if (asked) say(`${asked} is no day; here is the latest one.`);
}

// Where the first lines came with the page, they are painted first.
if (list.root.firstElementChild) requestAnimationFrame(() => setTimeout(() => void start()));
else void start();
