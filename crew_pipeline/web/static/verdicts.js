// @ts-check
/** What somebody says about two lines: effective at once, taken back by one key. */

import { Problem, send } from "./api.js";
import { say as tell } from "./message_bar.js";

/** @typedef {import("./day_model.js").Line} Line */

export class Verdicts {
  /** @param {() => string} day @param {() => Promise<void>} again shows the day as it is now */
  constructor(day, again) {
    this.day = day;
    this.again = again;
    /** What was said on this page and not taken back, the last at the end. @type {number[]} */
    this.said = [];
    /** The first of two lines that are to be the same. @type {Line | null} */
    this.first = null;
    this.busy = false;
  }

  /** @param {any} verdict @param {string} words */
  async say(verdict, words) {
    if (this.busy) return tell("One moment: the last word is still being kept.");
    this.busy = true;
    try {
      const { id } = await send("POST", `/api/days/${this.day()}/feedback`, verdict);
      this.said.push(id);
      await this.again();
      tell(words, { label: "Undo", key: "u", act: () => void this.undo() }, 20000);
    } catch (error) {
      tell(sentence(error));
    } finally {
      this.busy = false;
    }
  }

  async undo() {
    const id = this.said.at(-1);
    if (id === undefined) return tell("There is nothing to take back on this page.");
    if (this.busy) return tell("One moment: the last word is still being kept.");
    this.busy = true;
    try {
      await send("DELETE", `/api/feedback/${id}`);
      this.said.pop();
      await this.again();
      tell("Taken back.");
    } catch (error) {
      tell(sentence(error));
    } finally {
      this.busy = false;
    }
  }

  /** Begin to say that a line is the same as another one, which is picked next. @param {Line} line */
  sameAs(line) {
    this.first = line;
    document.body.classList.add("picking");
    tell("Pick the line that says the same: click it, or Enter.",
      { label: "Leave", key: "Esc", act: () => this.leave() }, 0);
  }

  leave() {
    if (!this.first) return false;
    this.first = null;
    document.body.classList.remove("picking");
    tell("");
    return true;
  }

  /** @param {Line} other */
  pick(other) {
    const line = this.first;
    if (!line || other === line) return;
    this.leave();
    void this.say({ verdict: "same", line_id: line.line_id, other_line_id: other.line_id },
      "They are the same: folded from now on.");
  }
}

/** @param {unknown} error */
export const sentence = (error) =>
  error instanceof Problem ? error.message : "The server does not answer; nothing was changed. Try again.";
