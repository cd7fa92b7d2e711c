// @ts-check
/** What there is to know about the day: its shape, its largest folds, its results over time, and what waits. */

import { address, get, send } from "./api.js";
import { bars } from "./charts.js";
import { percent } from "./day_model.js";
import { $, counted, el, grouped } from "./dom.js";
import { sentence } from "./verdicts.js";
import { beginning, clock, hoursOf, stamp } from "./time.js";

/** @typedef {import("./day_model.js").DayModel} DayModel */
/** @typedef {import("./list.js").LineList} LineList */

const WHY = ["; made by another engine", "; older", "; of this week", "; of today or yesterday"];
const MOST_SPEAKERS = 5, LARGEST = 10, QUEUE_MS = 4000;

export class About {
  /** @param {LineList} list @param {import("./calendar.js").Calendar} calendar @param {(day: string) => void} openDay */
  constructor(list, calendar, openDay) {
    this.list = list;
    this.calendar = calendar;
    this.openDay = openDay;
    this.panel = $("about");
    this.timer = 0;
    this.panel.addEventListener("close", () => clearInterval(this.timer));
    this.panel.addEventListener("click", (/** @type {MouseEvent} */ event) => event.target === this.panel && this.panel.close());
    $("about-close").onclick = () => this.panel.close();
  }

  /** @param {DayModel} model */
  show(model) {
    this.model = model;
    $("about-shape").replaceChildren(...this.shape(model));
    $("about-folds").replaceChildren(...this.folds(model));
    this.panel.showModal();
    void this.tellVersions(model.day);
    void this.tellQueue();
    clearInterval(this.timer);
    this.timer = window.setInterval(() => void this.tellQueue(), QUEUE_MS);
  }

  /** @param {DayModel} model */
  shape(model) {
    const { metadata } = model, folded = model.hiddenCount;
    const share = percent(metadata.hidden_character_count, metadata.character_count);
    const facts = [counted(model.conversations.length, "conversation"), counted(model.lineCount, "line"),
      folded ? `${grouped(folded)} folded` : "nothing folded", share ? `${share}% of the characters` : "",
      metadata.processed_at ? `made ${stamp(metadata.processed_at)}` : "",
      metadata.processed_at && metadata.processing_time_ms ? `in ${seconds(metadata.processing_time_ms)}` : ""];
    return [el("p", { text: facts.filter(Boolean).join(" · ") }), this.ribbon(model)];
  }

  /** The day by hour and speaker. @param {DayModel} model */
  ribbon(model) {
    const hours = hoursOf(model.day), begin = beginning(model.day);
    const counts = new Map();
    for (const line of model.lines.values()) counts.set(line.speaker, (counts.get(line.speaker) || 0) + 1);
    const most = [...counts].sort((one, other) => other[1] - one[1]).slice(0, MOST_SPEAKERS).map(([name]) => name);
    const names = counts.size > most.length ? [...most, "others"] : most;
    const series = names.map((name) => ({ name, values: new Array(hours).fill(0) }));
    const firsts = new Array(hours).fill("");
    for (const line of model.lines.values()) {
      const hour = Math.floor((Date.parse(line.spoken_at) - begin) / 3600e3);
      // A talk across midnight stands whole in the day it began in.
      const within = Math.max(0, Math.min(hours - 1, hour));
      const which = most.indexOf(line.speaker);
      series[which >= 0 ? which : names.length - 1].values[within]++;
      firsts[within] ||= line.line_id;
    }
    const labels = Array.from({ length: hours }, (_, hour) => clock(begin + hour * 3600e3));
    const chart = bars({ title: "By hour and speaker", labels, series, onPick: (hour) => this.goTo(firsts[hour]) });
    chart.append(el("div", { class: "hours" }, ...labels.flatMap((label, hour) => firsts[hour]
      ? [el("button", { text: label, title: `To the first line from ${label} on`, onclick: () => this.goTo(firsts[hour]) })] : [])));
    return chart;
  }

  /** @param {string} lineId */
  goTo(lineId) {
    this.panel.close();
    this.list.goTo(lineId);
  }

  /** @param {DayModel} model */
  folds(model) {
    const largest = model.visible.filter((line) => line.hidden_variations.length)
      .sort((one, other) => other.hidden_variations.length - one.hidden_variations.length).slice(0, LARGEST);
    if (!largest.length) return [el("p", { class: "soft", text: "No line stands for others." })];
    const reasons = model.reasons(), all = reasons.reduce((sum, [, count]) => sum + count, 0);
    return [
      el("ol", { class: "largest" }, ...largest.map((line) => el("li", {},
        el("button", { class: "row", onclick: () => this.goTo(line.line_id) },
          el("b", { text: `+${line.hidden_variations.length}` }), el("span", { text: line.text.trim().slice(0, 140) || "a message that consists of what stood before" }))))),
      el("h3", { text: "Folded because" }),
      el("table", { class: "shares" }, el("tbody", {}, ...reasons.slice(0, 12).map(([reason, count]) => el("tr", {},
        el("th", { scope: "row", text: reason }), el("td", { text: grouped(count) }),
        el("td", {}, el("meter", { value: count, max: all, "aria-label": `${reason}: ${count} of ${all}` })))))),
    ];
  }

  /** @param {string} day */
  async tellVersions(day) {
    const place = $("about-versions");
    place.textContent = "…";
    try {
      const { versions } = await get(`/api/days/${day}/versions`);
      if (this.model?.day !== day) return;
      if (!versions.length) return place.replaceChildren(el("p", { class: "soft", text: "This day has no result yet." }));
      place.replaceChildren(el("ol", { class: "versions" }, ...versions.map((/** @type {any} */ version, /** @type {number} */ index) => {
        const before = versions[index + 1], changes = el("div", { class: "changes-of" });
        return el("li", {},
          el("p", {}, el("time", { text: stamp(version.processed_at) }), ` · ${counted(version.lines, "line")}, ${version.folded} folded · ${seconds(version.processing_time_ms)}${version.is_current ? " · in force" : ""}`),
          el("p", { class: "why" },
            before && el("button", { class: "plain", text: "what changed", onclick: () => void this.tellChanges(day, before.version, version.version, changes) }),
            version.run_url && el("a", { class: "plain", href: version.run_url, target: "_blank", rel: "noreferrer", text: "its Dagster run" })),
          changes);
      })));
    } catch (error) {
      place.replaceChildren(el("p", { class: "soft", text: sentence(error) }));
    }
  }

  /** @param {string} day @param {string} from @param {string} to @param {HTMLElement} place */
  async tellChanges(day, from, to, place) {
    if (place.firstChild) return place.replaceChildren();
    try {
      const told = await get(`/api/days/${day}/changes`, { from, to });
      place.replaceChildren(...changesList(told, (lineId) => this.goTo(lineId)));
    } catch (error) {
      place.textContent = sentence(error);
    }
  }

  async tellQueue() {
    try {
      const [{ days: waiting }, { days: failed }] = await Promise.all([get("/api/semantic/queue", { limit: 30 }), get("/api/semantic/failed")]);
      await this.calendar.refresh();
      const atWork = [...this.calendar.days.values()].filter((day) => day.state === "processing");
      const rows = [
        ...atWork.map((day) => el("li", {},
          el("button", { class: "plain", text: day.date, onclick: () => this.leaveFor(day.date) }), ` is in work: ${counted(day.lines, "line")}`)),
        ...failed.map((/** @type {any} */ day) => el("li", {},
          el("button", { class: "plain", text: day.days_date, onclick: () => this.leaveFor(day.days_date) }),
          ` failed: ${day.error || "unknown"}${day.retry_at ? `; tried again ${stamp(day.retry_at)}` : "; set aside"} `,
          el("button", { class: "plain", text: "try again", onclick: () => void this.retry(day.days_date) }))),
        ...waiting.map((/** @type {any} */ day) => el("li", {},
          el("button", { class: "plain", text: day.days_date, onclick: () => this.leaveFor(day.days_date) }),
          ` waits: ${counted(day.conversation_count, "conversation")}, ${counted(day.line_count, "line")}`,
          el("span", { class: "soft", text: WHY[day.priority] || "" }))),
      ];
      $("about-queue").replaceChildren(rows.length ? el("ul", { class: "queue" }, ...rows) : el("p", { class: "soft", text: "Nothing waits, nothing has failed." }));
    } catch (error) {
      $("about-queue").replaceChildren(el("p", { class: "soft", text: sentence(error) }));
    }
  }

  /** @param {string} day */
  leaveFor(day) {
    this.panel.close();
    this.openDay(day);
  }

  /** @param {string} day */
  async retry(day) {
    await send("POST", `/api/semantic/retry/${day}`).catch(() => null);
    await this.tellQueue();
  }
}

/** What differs between two results, as lists. @param {any} told @param {(lineId: string) => void} goTo */
export function changesList(told, goTo) {
  const kinds = /** @type {[string, string][]} */ ([["folded", "folded now"], ["unfolded", "not folded any more"], ["came", "new"], ["went", "gone"]]);
  const lists = kinds.filter(([kind]) => told[kind]?.length).map(([kind, name]) => el("details", {},
    el("summary", { text: `${counted(told.counts[kind], "line")} ${name}` }),
    told.counts[kind] > told[kind].length && el("p", { class: "why", text: `the first ${told[kind].length} of them` }),
    el("ul", {}, ...told[kind].map((/** @type {any} */ line) => el("li", {},
      kind === "went" ? el("span", { text: `${line.speaker}: ${line.text.slice(0, 160)}` })
        : el("button", { class: "row", onclick: () => goTo(line.line_id) }, el("span", { text: `${line.speaker}: ${line.text.slice(0, 160)}` })),
      line.under_text !== null && el("p", { class: "why", text: `under “${line.under_text.slice(0, 120)}”: ${line.reason}` }))))));
  return lists.length ? lists : [el("p", { class: "soft", text: "Nothing is seen otherwise." })];
}

/** @param {number} ms */
const seconds = (ms) => (ms < 950 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

/** The addresses of a day as files. @param {string} day @param {boolean} full */
export const exportLink = (day, full) => (/** @type {string} */ form) =>
  address(`/api/days/${day}/export`, { format: form, view: full ? "full" : "condensed" });
