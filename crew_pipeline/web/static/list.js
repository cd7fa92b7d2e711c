// @ts-check
/** The lines of a day on the page: laid out as they come into view, folded in place, opened and closed. */

import { hiddenRun, sureness } from "./day_model.js";
import { $, counted, el, whenIdle } from "./dom.js";
import { WORD_FOR_WORD, words } from "./message.js";
import { clock } from "./time.js";

/** @typedef {import("./day_model.js").DayModel} DayModel */
/** @typedef {import("./day_model.js").Chunk} Chunk */
/** @typedef {import("./day_model.js").Line} Line */
/** @typedef {import("./day_model.js").Conversation} Conversation */

const ROW_PX = 30, HEAD_PX = 150;
const DRAW_AHEAD = "1200px 0px";

/** What the page does with lines. */
/**
 * @typedef {{say: (verdict: any, words: string) => void, sameAs: (line: Line) => void, copy: (line: Line) => void,
 *   link: (line: Line) => void,
 *   linkTo: (lineId: string) => string, onLine: (lineId: string) => void, openDay: (day: string) => void}} Actions
 */

export class LineList {
  /** @param {HTMLElement} root @param {Actions} actions */
  constructor(root, actions) {
    this.root = root;
    this.actions = actions;
    /** @type {DayModel | null} */
    this.model = null;
    this.full = false;
    /** Lines whose repeats are open, and first lines of opened gaps. @type {Set<string>} */
    this.opened = new Set();
    /** @type {Set<string>} */
    this.closedConversations = new Set();
    /** @type {Line | null} */
    this.active = null;
    /** @type {WeakMap<Element, Chunk>} */
    this.chunkOf = new WeakMap();
    /** Chunks that changed while somebody looked at them: drawn anew once nobody does. @type {Set<Chunk>} */
    this.unsettled = new Set();
    this.toolbar = this.makeToolbar();
    this.desk = {
      find: (/** @type {string} */ lineId) => this.model?.lines.get(lineId),
      goTo: (/** @type {string} */ lineId) => void this.goTo(lineId),
      say: actions.say,
    };
    this.near = new IntersectionObserver((entries) => this.onNear(entries), { rootMargin: DRAW_AHEAD });
    this.looked = new IntersectionObserver((entries) => this.onLooked(entries));
    root.addEventListener("click", (event) => this.onClick(event));
    root.addEventListener("pointerover", (event) => this.onPointed(event));
    root.addEventListener("focusin", (event) => this.onFocus(event));
  }

  /** Show another day, or the same one with other lines. @param {DayModel} model */
  show(model) {
    if (this.model?.day === model.day) this.keepPlace(() => this.showAnew(model));
    else this.showAnew(model);
  }

  /** @param {DayModel} model */
  showAnew(model) {
    const active = this.active && model.lines.get(this.active.line_id);
    const focused = Boolean(document.activeElement?.closest(".line"));
    this.model = model;
    this.near.disconnect();
    this.looked.disconnect();
    this.unsettled.clear();
    this.active = null;
    this.root.replaceChildren(...model.conversations.map((conversation) => this.section(conversation)));
    let rows = 0;
    for (const chunks of model.chunks.values()) {
      for (const chunk of chunks) {
        if (rows < 60) this.draw(chunk);
        rows += chunk.rows;
        this.near.observe(/** @type {Element} */ (chunk.list));
        this.looked.observe(/** @type {Element} */ (chunk.list));
      }
    }
    if (active) {
      this.draw(active.place.chunk);
      this.activate(active, focused);
    }
    this.drawWhenIdle(model);
  }

  /** Do something that draws lines anew, and leave the one that is looked at where it is. @param {() => void} change */
  keepPlace(change) {
    const inView = this.active && $(this.active.line_id);
    const kept = inView && isInView(inView) ? this.active : this.firstInView();
    const top = kept && window.scrollY ? $(kept.line_id)?.getBoundingClientRect().top : undefined;
    change();
    if (!kept || top === undefined) return;
    const line = this.model?.lines.get(kept.line_id);
    if (line && !line.place.chunk.drawn) this.draw(line.place.chunk);
    const row = $(kept.line_id) || (line && $(`g-${hiddenRun(line)[0].line_id}`));
    if (row) window.scrollBy(0, row.getBoundingClientRect().top - top);
  }

  /** Fold the same lines otherwise; what is looked at is not moved, unless somebody has just asked for it.
   * @param {Conversation[]} conversations @param {any} metadata @param {boolean} atOnce */
  fold(conversations, metadata, atOnce) {
    const model = /** @type {DayModel} */ (this.model);
    const before = new Map();
    for (const chunks of model.chunks.values()) for (const chunk of chunks) before.set(chunk, chunk.look);
    const focused = document.activeElement?.closest(".line")?.id;
    model.foldAs(conversations, metadata);
    for (const conversation of model.conversations) this.tellHead(conversation);
    const changed = [...before].filter(([chunk, look]) => chunk.drawn && chunk.look !== look).map(([chunk]) => chunk);
    const seen = new Set(changed.filter((chunk) => isInView(/** @type {Element} */ (chunk.list))));
    const redraw = () => {
      for (const chunk of changed) {
        if (seen.has(chunk) && !atOnce) this.hint(chunk);
        else this.draw(chunk);
      }
      if (this.active && $(this.active.line_id)) this.activate(this.active, false);
    };
    if (atOnce) this.keepPlace(redraw);
    else redraw();
    if (focused && document.activeElement === document.body) $(focused)?.focus({ preventScroll: true });
  }

  /** Every line, or those that say something new. @param {boolean} full */
  setFull(full) {
    if (this.full === full) return;
    this.full = full;
    this.root.classList.toggle("full", full);
    this.keepPlace(() => {
      for (const chunk of [...(this.model?.chunks.values() || [])].flat()) {
        if (!chunk.drawn) continue;
        if (isNear(/** @type {Element} */ (chunk.list))) this.draw(chunk);
        else this.leave(chunk);
      }
    });
    if (this.model) this.drawWhenIdle(this.model);
  }

  /** Let a chunk be drawn when somebody comes near. @param {Chunk} chunk */
  leave(chunk) {
    chunk.drawn = false;
    this.unsettled.delete(chunk);
    chunk.list?.replaceChildren();
  }

  /** The first line below the head of the page; what is out of sight is not laid out for it. */
  firstInView() {
    for (const chunk of [...(this.model?.chunks.values() || [])].flat()) {
      if (!chunk.drawn || !chunk.list || chunk.list.getBoundingClientRect().bottom <= HEAD_PX) continue;
      for (const row of chunk.list.querySelectorAll(".line")) {
        if (row.getBoundingClientRect().bottom > HEAD_PX) return this.model?.lines.get(row.id) || null;
      }
    }
    return null;
  }

  // Conversations

  /** @param {Conversation} conversation */
  section(conversation) {
    const closed = this.closedConversations.has(conversation.id);
    const title = el("button", { class: "title", "aria-expanded": String(!closed), text: conversation.title || conversation.session_id });
    const body = el("div", { class: "body", hidden: closed });
    const section = el("section", { class: "conversation", id: `c-${conversation.id}`, "aria-label": conversation.title || conversation.session_id },
      el("header", {}, el("h2", {}, title), el("p", { class: "told" }), el("p", { class: "parts", hidden: true }), el("p", { class: "elsewhere", hidden: true })), body);
    title.addEventListener("click", () => this.toggleConversation(conversation));
    for (const chunk of this.model?.chunks.get(conversation) || []) {
      chunk.list = el("ol", { class: "chunk" });
      chunk.drawn = false;
      chunk.list.style.setProperty("--estimate", `${Math.round(chunk.rows * ROW_PX)}px`);
      this.chunkOf.set(chunk.list, chunk);
      body.append(chunk.list);
    }
    this.tellHead(conversation, section);
    return section;
  }

  /** @param {Conversation} conversation @param {HTMLElement} [section] */
  tellHead(conversation, section = $(`c-${conversation.id}`)) {
    if (!section) return;
    const speakers = [...new Set(conversation.display_conversation.map((line) => line.speaker))];
    const named = speakers.slice(0, 4).map(isolated).join(", ") + (speakers.length > 4 ? ` and ${speakers.length - 4} more` : "");
    const parts = [isolated(conversation.crew), `${clock(conversation.started_at)} to ${clock(conversation.ended_at)}`,
      counted(conversation.line_count, "line"), conversation.hidden_count ? `${conversation.hidden_count} folded` : "", named];
    const told = /** @type {HTMLElement} */ (section.querySelector(".told"));
    told.textContent = parts.filter(Boolean).join(" · ");
    told.title = speakers.join(", ");
    const elsewhere = /** @type {HTMLElement} */ (section.querySelector(".elsewhere"));
    const wholly = conversation.display_conversation.length > 0 &&
      conversation.display_conversation.every((line) => line.represented_by);
    elsewhere.hidden = !wholly;
    if (wholly) elsewhere.replaceChildren("Every line is said elsewhere: ", ...this.whereShown(conversation));
  }

  /** Links to where the lines of a conversation are shown. @param {Conversation} conversation */
  whereShown(conversation) {
    /** @type {Map<Conversation, string>} */
    const found = new Map();
    for (const line of conversation.display_conversation) {
      const shown = this.model?.lines.get(line.represented_by || "");
      if (shown && !found.has(shown.place.conversation)) found.set(shown.place.conversation, shown.line_id);
    }
    return [...found].slice(0, 5).flatMap(([other, lineId], index) => [
      index ? ", " : null,
      el("a", { href: this.actions.linkTo(lineId), "data-line": lineId, text: other.title || other.session_id }),
    ]).filter((one) => one !== null);
  }

  /** @param {Conversation} conversation @param {boolean} [open] */
  toggleConversation(conversation, open = this.closedConversations.has(conversation.id)) {
    const section = $(`c-${conversation.id}`);
    if (open) this.closedConversations.delete(conversation.id);
    else this.closedConversations.add(conversation.id);
    section.querySelector(".body").hidden = !open;
    section.querySelector(".title").setAttribute("aria-expanded", String(open));
    if (!open && this.active?.place.conversation === conversation) {
      this.leaveActive();
      section.querySelector(".title").focus({ preventScroll: true });
    }
  }

  /** @param {{id: string, before_day: string | null, after_day: string | null}[]} parts */
  linkParts(parts) {
    for (const part of parts) {
      const head = $(`c-${part.id}`)?.querySelector("header");
      const place = /** @type {HTMLElement | null | undefined} */ (head?.querySelector(".parts"));
      if (!place) continue;
      const links = /** @type {[string, string | null][]} */ ([["goes on from", part.before_day], ["goes on", part.after_day]])
        .filter(([, day]) => day)
        .map(([how, day]) => el("button", { class: "plain", text: `${how} ${day}`, onclick: () => this.actions.openDay(/** @type {string} */ (day)) }));
      place.replaceChildren(...links);
      place.hidden = !links.length;
    }
  }

  // Chunks

  /** @param {IntersectionObserverEntry[]} entries */
  onNear(entries) {
    for (const entry of entries) {
      const chunk = this.chunkOf.get(entry.target);
      if (entry.isIntersecting && chunk && !chunk.drawn) this.draw(chunk);
    }
  }

  /** @param {IntersectionObserverEntry[]} entries */
  onLooked(entries) {
    for (const entry of entries) {
      const chunk = this.chunkOf.get(entry.target);
      if (chunk && !entry.isIntersecting && this.unsettled.has(chunk)) this.draw(chunk);
    }
  }

  /** @param {DayModel} model */
  drawWhenIdle(model) {
    const left = [...model.chunks.values()].flat().filter((chunk) => !chunk.drawn);
    const some = (/** @type {IdleDeadline} */ deadline) => {
      if (this.model !== model) return;
      while (left.length && deadline.timeRemaining() > 4) {
        const chunk = /** @type {Chunk} */ (left.shift());
        if (!chunk.drawn) this.draw(chunk);
      }
      if (left.length) whenIdle(some);
    };
    whenIdle(some);
  }

  /** Lay everything out, to be printed. */
  drawAll() {
    for (const chunk of [...(this.model?.chunks.values() || [])].flat()) if (!chunk.drawn) this.draw(chunk);
  }

  /** @param {Chunk} chunk */
  draw(chunk) {
    const list = /** @type {HTMLOListElement} */ (chunk.list);
    const focused = list.contains(document.activeElement) ? document.activeElement?.closest("[id]")?.id : null;
    if (list.contains(this.toolbar)) this.toolbar.remove();
    /** @type {HTMLElement[]} */
    const rows = [];
    let speaker = "";
    for (let at = 0; at < chunk.lines.length; at++) {
      const line = chunk.lines[at];
      if (line.represented_by && !this.full) {
        const hidden = hiddenRun(line), open = hidden.some((one) => this.opened.has(one.line_id));
        const here = hidden.filter((one) => one.place.chunk === chunk);
        // Where lines are hidden across two chunks, the mark stands in the first.
        if (here[0] === hidden[0]) rows.push(this.gap(hidden, open));
        if (open) for (const one of here) rows.push(this.row(one, ""));
        if (open) speaker = "";
        at += here.length - 1;
        continue;
      }
      rows.push(this.row(line, speaker));
      speaker = line.speaker;
    }
    list.replaceChildren(...rows);
    chunk.drawn = true;
    this.unsettled.delete(chunk);
    if (focused) ($(focused) || $(focused.slice(2)) || $(`g-${focused}`))?.focus({ preventScroll: true });
  }

  /** Say what has changed in a chunk that is looked at, where that moves nothing; the rest follows unseen.
   * @param {Chunk} chunk */
  hint(chunk) {
    for (const line of chunk.lines) {
      const row = $(line.line_id);
      if (!row) continue;
      row.classList.toggle("settling", Boolean(line.represented_by) && !this.full);
      this.tellMore(line, row);
    }
    this.unsettled.add(chunk);
  }

  // Lines

  /** @param {Line[]} hidden @param {boolean} open */
  gap(hidden, open) {
    const words = open ? "said elsewhere" : `${counted(hidden.length, "line")} said elsewhere`;
    const button = el("button", { id: `g-${hidden[0].line_id}`, "aria-expanded": String(open), "data-gap": hidden[0].line_id, text: words });
    return el("li", { class: "gap-row" }, button);
  }

  /** @param {Line} line @param {string} speakerBefore */
  row(line, speakerBefore) {
    const row = el("li", { class: "line", id: line.line_id, tabindex: line === this.active ? "0" : "-1" });
    if (line.speaker === speakerBefore) row.classList.add("same");
    if (line.represented_by) row.classList.add("hidden-line");
    if (line === this.active) row.classList.add("active");
    const body = words(line, this.desk);
    if (line.represented_by) body.append(this.reason(line));
    row.append(
      el("a", { class: "n", href: this.actions.linkTo(line.line_id), "data-line": line.line_id, tabindex: "-1",
        "aria-label": `Line ${line.number}, link`, text: line.number }),
      el("span", { class: "who", title: line.speaker, text: line.speaker }), body,
      el("span", { class: "meta" }, el("time", { datetime: line.spoken_at, text: clock(line.spoken_at) })));
    this.tellMore(line, row);
    if (this.opened.has(line.line_id) && line.hidden_variations.length) body.append(this.variations(line));
    return row;
  }

  /** How many lines a visible one stands for, beside it. @param {Line} line @param {Element} row */
  tellMore(line, row) {
    const meta = /** @type {Element} */ (row.querySelector(".meta"));
    let button = meta.querySelector(".more");
    const repeats = line.hidden_variations.length;
    if (!repeats) return button?.remove();
    if (!button) meta.prepend((button = el("button", { class: "more", id: `m-${line.line_id}`, "data-open": line.line_id, tabindex: "-1" })));
    button.textContent = `+${repeats}`;
    button.setAttribute("aria-expanded", String(this.opened.has(line.line_id)));
    button.setAttribute("aria-label", `${counted(repeats, "repeat")} of this line`);
  }

  /** Why a hidden line is hidden. @param {Line} line */
  reason(line) {
    const shown = this.model?.lines.get(line.represented_by || "");
    const where = shown ? `${clock(shown.spoken_at)}, ${shown.speaker}` : "a line";
    const apart = { verdict: "different", line_id: line.represented_by, other_line_id: line.line_id };
    return el("p", { class: "why" }, "shown at ",
      el("a", { href: this.actions.linkTo(line.represented_by || ""), "data-line": line.represented_by, text: where }),
      `: ${line.reason} · ${sureness(line.probability)} `,
      el("button", { class: "plain", text: "not the same", onclick: () => this.actions.say(apart, APART) }));
  }

  /** @param {Line} line */
  variations(line) {
    const rows = line.hidden_variations.map((one) => {
      const known = this.model?.lines.get(one.line_id);
      const apart = { verdict: "different", line_id: line.line_id, other_line_id: one.line_id };
      const where = known && known.place.conversation !== line.place.conversation
        ? ` in ${known.place.conversation.title || known.place.conversation.session_id}` : "";
      const text = one.repeats?.length === 1 && !one.text && one.repeats[0].reason === WORD_FOR_WORD
        ? el("p", { class: "words why", text: "the same, word for word" })
        : el("p", { class: "words", text: one.text });
      return el("li", { id: `v-${one.line_id}` },
        el("span", { class: "who", text: one.speaker }), text,
        el("p", { class: "why" }, `${clock(one.spoken_at)}${where} · ${one.reason} · ${sureness(one.probability)} `,
          el("button", { class: "plain", text: "not the same", onclick: () => this.actions.say(apart, APART) }),
          el("a", { class: "plain", href: this.actions.linkTo(one.line_id), "data-line": one.line_id, text: "in its place" })));
    });
    return el("ol", { class: "variations", "aria-label": "Lines that say the same" }, ...rows);
  }

  // What somebody does

  /** @param {Event} event */
  onClick(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    const asked = /** @type {HTMLElement | null} */ (target.closest("[data-gap], [data-open], [data-line], .line"));
    if (!asked) return;
    const { gap, open, line } = asked.dataset;
    const { ctrlKey, metaKey, shiftKey } = /** @type {MouseEvent} */ (event);
    if (line !== undefined && !(ctrlKey || metaKey || shiftKey)) {
      event.preventDefault();
      this.actions.onLine(line);
      this.goTo(line);
    } else if (gap !== undefined) this.toggle(gap);
    else if (open !== undefined) this.toggle(open);
    else if (asked.classList.contains("line") && !String(getSelection())) {
      const chosen = this.model?.lines.get(asked.id);
      if (chosen) this.activate(chosen, !target.closest("button, a, summary, input"));
    }
  }

  /** @param {PointerEvent} event */
  onPointed(event) {
    if (event.pointerType !== "mouse") return;
    const row = /** @type {HTMLElement} */ (event.target).closest(".line");
    if (row && !row.contains(this.toolbar)) this.attach(row);
  }

  /** @param {FocusEvent} event */
  onFocus(event) {
    const row = /** @type {HTMLElement} */ (event.target).closest(".line");
    const line = row && this.model?.lines.get(row.id);
    if (line && line !== this.active) this.activate(line, false);
  }

  /** The line that keys are about. @param {Line} line @param {boolean} focus */
  activate(line, focus) {
    const before = this.active && $(this.active.line_id);
    if (before) before.tabIndex = -1;
    this.root.querySelector(".line.active")?.classList.remove("active");
    this.active = line;
    const row = $(line.line_id);
    if (!row) return;
    row.tabIndex = 0;
    row.classList.add("active");
    this.attach(row);
    if (focus) row.focus({ preventScroll: true });
  }

  /** @param {Element} row */
  attach(row) {
    const line = this.model?.lines.get(row.id);
    if (!line) return;
    for (const button of this.toolbar.querySelectorAll("button")) {
      const what = button.dataset.do;
      button.hidden = what === "open" ? !line.hidden_variations.length
        : what === "apart" ? !line.represented_by && line.hidden_variations.length !== 1 : false;
    }
    row.append(this.toolbar);
  }

  makeToolbar() {
    /** @type {[string, string, string][]} */
    const buttons = [["open", "Open", "o"], ["apart", "Not the same", "x"], ["same", "Same as…", "s"], ["copy", "Copy", "c"], ["link", "Link", "y"]];
    const bar = el("div", { class: "tools", role: "toolbar", "aria-label": "What to do with this line" },
      ...buttons.map(([what, text, key]) => el("button", { "data-do": what, text, title: `${text} (${key})`, tabindex: "-1" })));
    bar.addEventListener("click", (event) => {
      const what = /** @type {HTMLElement} */ (event.target).dataset.do;
      const line = this.model?.lines.get(bar.closest(".line")?.id || "");
      if (!what || !line) return;
      event.stopPropagation();
      this.activate(line, false);
      this.act(what);
    });
    return bar;
  }

  /** Do something with the active line. @param {string} what */
  act(what) {
    const line = this.active;
    if (!line) return;
    if (what === "open") this.toggle(line.line_id);
    if (what === "same") this.actions.sameAs(line);
    if (what === "copy") this.actions.copy(line);
    if (what === "link") this.actions.link(line);
    if (what === "apart") this.sayApart(line);
  }

  /** @param {Line} line */
  sayApart(line) {
    const [only, another] = line.hidden_variations;
    const pair = line.represented_by ? [line.represented_by, line.line_id] : only && !another ? [line.line_id, only.line_id] : null;
    if (pair) return this.actions.say({ verdict: "different", line_id: pair[0], other_line_id: pair[1] }, APART);
    if (only) this.open(line.line_id, true);
  }

  /** Open or close the repeats of a line, or a gap. @param {string} lineId */
  toggle(lineId) {
    const line = this.model?.lines.get(lineId);
    if (!line) return;
    const isOpen = line.represented_by ? hiddenRun(line).some((one) => this.opened.has(one.line_id)) : this.opened.has(lineId);
    this.open(lineId, !isOpen);
  }

  /** @param {string} lineId @param {boolean} open */
  open(lineId, open) {
    const line = this.model?.lines.get(lineId);
    if (!line) return;
    const beside = line.represented_by ? hiddenRun(line) : [line];
    for (const one of beside) this.opened.delete(one.line_id);
    if (open) this.opened.add(lineId);
    for (const chunk of new Set(beside.map((one) => one.place.chunk))) this.draw(chunk);
    if (this.active) this.activate(this.active, false);
  }

  /** Bring a line into view, opened where it is hidden; returns whether there is one. @param {string} lineId */
  goTo(lineId, { focus = true } = {}) {
    const line = this.model?.lines.get(lineId);
    if (!line) return false;
    this.toggleConversation(line.place.conversation, true);
    if (line.represented_by && !this.full) {
      if ($(lineId)) this.opened.add(lineId);
      else this.open(lineId, true);
    }
    const { chunk } = line.place;
    if (!chunk.drawn || !$(lineId)) this.draw(chunk);
    const row = $(lineId);
    // What lies between is laid out on the way; the second look finds the place for good.
    row.scrollIntoView({ block: "center" });
    requestAnimationFrame(() => row.isConnected && row.scrollIntoView({ block: "center" }));
    this.root.querySelector(".line.found")?.classList.remove("found");
    row.classList.add("found");
    this.activate(line, focus);
    return true;
  }

  /** The visible line after or before the active one. @param {number} by */
  step(by) {
    const all = [...(this.model?.lines.values() || [])];
    let at = this.active ? all.indexOf(this.active) + by : all.indexOf(/** @type {Line} */ (this.firstInView()));
    while (at >= 0 && at < all.length && !this.isShown(all[at])) at += by;
    const line = all[at] || (this.active ? null : all.find((one) => this.isShown(one)));
    if (line) this.reach(line);
  }

  /** @param {Line} line */
  isShown(line) {
    if (this.closedConversations.has(line.place.conversation.id)) return false;
    if (this.full || !line.represented_by) return true;
    // What was folded while it was looked at keeps its place until nobody does.
    return hiddenRun(line).some((one) => this.opened.has(one.line_id)) || Boolean($(line.line_id));
  }

  /** The first line of the next or previous conversation; its title where no line of it is shown. @param {number} by */
  stepConversation(by) {
    const all = this.model?.conversations.filter((one) => one.display_conversation.length) || [];
    const title = document.activeElement?.closest(".conversation > header");
    const here = title ? all.find((one) => `c-${one.id}` === title.parentElement?.id) : this.active?.place.conversation;
    const next = all[Math.max(0, Math.min(all.length - 1, here ? all.indexOf(here) + by : 0))];
    if (!next) return;
    const first = next.display_conversation.find((line) => this.isShown(line));
    if (first) this.reach(first);
    else this.leaveActive();
    const section = $(`c-${next.id}`);
    if (!first) section.querySelector(".title").focus({ preventScroll: true });
    section.scrollIntoView({ block: "start" });
  }

  /** No line is the one that keys are about. */
  leaveActive() {
    const row = this.active && $(this.active.line_id);
    row?.classList.remove("active");
    this.toolbar.remove();
    this.active = null;
  }

  /** @param {Line} line */
  reach(line) {
    if (!line.place.chunk.drawn) this.draw(line.place.chunk);
    this.activate(line, true);
    $(line.line_id)?.scrollIntoView({ block: "nearest" });
  }
}

const APART = "They are not the same: kept, and honoured from now on.";

/** @param {Element} element */
function isInView(element) {
  const { top, bottom } = element.getBoundingClientRect();
  return bottom > 0 && top < innerHeight;
}

/** @param {Element} element */
function isNear(element) {
  const { top, bottom } = element.getBoundingClientRect();
  return bottom > -innerHeight && top < 2 * innerHeight;
}

/** A name that is read in its own direction, whatever stands beside it. @param {string} name */
const isolated = (name) => `\u2068${name}\u2069`;
