// @ts-check
/** Finding words in all lines of the day, also in those that are folded or not laid out yet. */

import { get } from "./api.js";
import { $, counted, later, whenIdle } from "./dom.js";
import { isShortened, openPassages } from "./message.js";

/** @typedef {import("./day_model.js").Line} Line */
/** @typedef {import("./list.js").LineList} LineList */

/** Letters without case and accents, each as long as it was. @param {string} text */
const plain = (text) => text.replace(/[^\x00-\x7f]/g, (letter) => {
  const bare = letter.normalize("NFD").replace(/\p{M}/gu, "");
  return bare.length === letter.length ? bare : letter;
}).toLowerCase();

const paint = "highlights" in CSS ? new Highlight() : null;
if (paint) CSS.highlights.set("found", paint);

export class Find {
  /** @param {LineList} list @param {() => void} onClose */
  constructor(list, onClose) {
    this.list = list;
    this.onClose = onClose;
    /** @type {Line[]} */
    this.hits = [];
    this.at = -1;
    this.searched = "";
    /** @type {WeakMap<Line, string>} */
    this.known = new WeakMap();
    /** All words of the lines that are shown without what repeats in them, once somebody looks for some. @type {Map<string, string>} */
    this.whole = new Map();
    this.box = $("find-box");
    this.input = $("find-words");
    this.input.addEventListener("input", later(() => this.search(), 60));
    this.input.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Enter") {
        event.preventDefault();
        if (this.searched === this.input.value) this.step(event.shiftKey ? -1 : 1);
        else this.search();
      }
      if (event.key === "Escape") this.close();
    });
    $("find-next").onclick = () => this.step(1);
    $("find-previous").onclick = () => this.step(-1);
    $("find-close").onclick = () => this.close();
    list.root.addEventListener("unfolded", later(() => this.hits.length && this.highlight(), 30));
  }

  open() {
    this.box.hidden = false;
    document.body.classList.add("finding");
    this.input.focus();
    this.input.select();
    void this.readWhole();
  }

  /** What is folded in messages is looked through as well: it comes when somebody begins to look. */
  async readWhole() {
    const { model } = this.list;
    const shortened = [...(model?.lines.values() || [])].filter((line) => isShortened(line) && !this.whole.has(line.line_id));
    if (!model || !shortened.length) return;
    const answer = await get(`/api/days/${model.day}/conversations`, { view: "full", wait_s: "0" }).catch(() => null);
    if (this.list.model !== model || this.box.hidden || !answer?.success) return;
    for (const conversation of answer.data) for (const line of conversation.display_conversation) this.whole.set(line.line_id, line.text);
    for (const line of shortened) this.known.delete(line);
    this.search(false);
    this.prepare(shortened);
  }

  close() {
    this.box.hidden = true;
    document.body.classList.remove("finding");
    this.input.value = this.searched = "";
    this.hits = [];
    paint?.clear();
    this.onClose();
    const active = this.list.active;
    if (active) this.list.activate(active, true);
  }

  /** Look again: the lines have changed. */
  again() {
    this.known = new WeakMap();
    this.whole.clear();
    if (!this.box.hidden) {
      this.search(false);
      void this.readWhole();
    }
    this.prepare([...(this.list.model?.lines.values() || [])]);
  }

  /** Have the lines at hand as they are looked through, before the first letter. @param {Line[]} lines */
  prepare(lines) {
    const known = this.known;
    const some = (/** @type {IdleDeadline} */ deadline) => {
      while (lines.length && known === this.known && deadline.timeRemaining() > 3) {
        for (const line of lines.splice(-100)) this.textOf(line);
      }
      if (lines.length && known === this.known) whenIdle(some);
    };
    whenIdle(some);
  }

  /** @param {boolean} [go] */
  search(go = true) {
    if (go && this.searched === this.input.value) return;
    this.searched = this.input.value;
    const wanted = plain(this.input.value.trim());
    const lines = wanted ? [...(this.list.model?.lines.values() || [])] : [];
    this.hits = lines.filter((line) => this.textOf(line).includes(wanted));
    this.at = -1;
    if (go && this.hits.length) {
      const from = this.list.firstInView();
      this.at = Math.max(0, this.hits.findIndex((hit) => !from || hit.place.conversation !== from.place.conversation || hit.number >= from.number)) - 1;
      this.step(1, false);
    }
    this.tell();
    this.highlight();
  }

  /** @param {Line} line */
  textOf(line) {
    let text = this.known.get(line);
    if (text === undefined) this.known.set(line, (text = plain(`${line.speaker}\n${this.whole.get(line.line_id) ?? line.text}`)));
    return text;
  }

  /** @param {number} by @param {boolean} [highlight] */
  step(by, highlight = true) {
    if (!this.hits.length) return;
    this.at = (this.at + by + this.hits.length) % this.hits.length;
    const hit = this.hits[this.at], wanted = plain(this.input.value.trim());
    const whole = isShortened(hit) && this.whole.get(hit.line_id);
    if (whole && !plain(hit.text).includes(wanted)) {
      openPassages(hit, whole, (folded) => plain(folded).includes(wanted));
      this.list.draw(hit.place.chunk);
    }
    this.list.goTo(hit.line_id, { focus: false });
    this.tell();
    if (highlight) this.highlight();
  }

  tell() {
    const words = this.input.value.trim();
    $("find-count").textContent = !words ? "" : !this.hits.length ? "nothing"
      : this.at < 0 ? counted(this.hits.length, "line") : `${this.at + 1} of ${counted(this.hits.length, "line")}`;
  }

  /** Mark the words in the lines around the present hit, without touching them. */
  highlight() {
    if (!paint) return;
    paint.clear();
    const wanted = plain(this.input.value.trim());
    if (!wanted) return;
    const from = Math.max(0, this.at - 40);
    for (const hit of this.hits.slice(from, from + 80)) {
      const words = $(hit.line_id)?.querySelector(".words");
      if (!words) continue;
      const walker = document.createTreeWalker(words, NodeFilter.SHOW_TEXT);
      for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const text = plain(node.nodeValue || "");
        for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, at + wanted.length)) {
          const range = new Range();
          range.setStart(node, at);
          range.setEnd(node, at + wanted.length);
          paint.add(range);
        }
      }
    }
  }
}
