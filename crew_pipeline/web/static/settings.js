// @ts-check
/** Settings of the page (how it looks) and of the client (how sure a fold must be), and who is signed in. */

import { get, root, send } from "./api.js";
import { changesList } from "./about.js";
import { $, counted, el } from "./dom.js";
import { say } from "./message_bar.js";
import { choices, prefer, preference } from "./preferences.js";
import { sentence } from "./verdicts.js";

/** @typedef {import("./preferences.js").Preference} Preference */

const POINTS = { strict: "only what is surest", balanced: "the usual", loose: "more, and more often wrong" };
const NAMES = /** @type {Record<Preference, string>} */ ({ theme: "Theme", clock: "Clock", density: "Density", numbers: "Line numbers", keys: "Single-letter keys" });
const WORDS = /** @type {Record<string, string>} */ ({ 24: "24 hours", 12: "12 hours", pointed: "where one points", always: "always", on: "on", off: "off, for who speaks to the computer" });

export class Settings {
  /**
   * @param {() => string} day
   * @param {() => void} again draws what is shown anew
   * @param {() => Promise<void>} reload asks for it anew
   * @param {(lineId: string) => void} goTo
   */
  constructor(day, again, reload, goTo) {
    this.day = day;
    this.again = again;
    this.reload = reload;
    this.panel = $("settings");
    this.trying = new AbortController();
    this.goTo = (/** @type {string} */ lineId) => {
      this.panel.close();
      goTo(lineId);
    };
    this.panel.addEventListener("click", (/** @type {MouseEvent} */ event) => event.target === this.panel && this.panel.close());
    $("settings-close").onclick = () => this.panel.close();
  }

  show() {
    const names = /** @type {Preference[]} */ (["theme", "clock", "density", "numbers", "keys"]);
    $("settings-look").replaceChildren(...names.map((name) => this.choice(name)));
    this.panel.showModal();
    void this.tellFolding();
    void this.tellSession();
  }

  /** @param {Preference} name */
  choice(name) {
    const group = el("fieldset", { class: "choice" }, el("legend", { text: NAMES[name] }));
    for (const value of choices(name)) {
      const input = el("input", { type: "radio", name, value, checked: preference(name) === value });
      input.addEventListener("change", () => {
        prefer(name, value);
        if (name === "clock") this.again();
      });
      group.append(el("label", {}, input, WORDS[value] || value));
    }
    return group;
  }

  async tellFolding() {
    const place = $("settings-folding");
    try {
      const { folding, own } = await get("/api/folding");
      const effect = el("div", { class: "effect", "aria-live": "polite" });
      const group = el("fieldset", { class: "choice" }, el("legend", { text: `How sure a fold must be${own ? "" : " (as the system has it)"}` }));
      for (const [point, words] of Object.entries(POINTS)) {
        const input = el("input", { type: "radio", name: "folding", value: point, checked: point === folding });
        input.addEventListener("change", () => void this.tryFolding(point, folding, effect));
        group.append(el("label", {}, input, `${point}: ${words}`));
      }
      place.replaceChildren(group, effect);
      if (own) place.append(el("button", { class: "plain", text: "as the system has it", onclick: () => void this.choose("default") }));
    } catch (error) {
      place.textContent = sentence(error);
    }
  }

  /** What another point would change in the day that is open, before it is kept.
   * @param {string} point @param {string} now @param {HTMLElement} effect */
  async tryFolding(point, now, effect) {
    this.trying.abort();
    const mine = (this.trying = new AbortController());
    if (point === now) return effect.replaceChildren();
    effect.textContent = "Trying it on this day…";
    let shown;
    try {
      const told = await get(`/api/days/${this.day()}/folding`, { at: point }, { signal: mine.signal });
      shown = [el("p", { text: `On this day: ${counted(told.counts.folded, "line")} folded more, ${told.counts.unfolded} fewer.` }),
        ...changesList(told, this.goTo)];
    } catch (error) {
      shown = [el("p", { text: sentence(error) })];
    }
    if (this.trying === mine) effect.replaceChildren(...shown, this.keep(point));
  }

  /** @param {string} point */
  keep(point) {
    const button = el("button", { class: "primary", text: `Keep ${point}, for all days` });
    button.addEventListener("click", () => {
      button.disabled = true;
      void this.choose(point);
    });
    return button;
  }

  /** @param {string} point */
  async choose(point) {
    try {
      const done = await send("PUT", "/api/folding", { folding: point });
      await this.reload();
      say(`Folds at ${done.folding} now: ${counted(done.refolded.length, "day")} at once, ${done.later.length} follow.`);
    } catch (error) {
      say(sentence(error));
    }
    await this.tellFolding();
  }

  async tellSession() {
    const place = $("settings-session");
    try {
      const { client, open, clients } = await get("/api/session");
      /** @type {HTMLElement[]} */
      const parts = [el("p", { text: open ? `Client: ${client}` : `Signed in as ${client}` })];
      if (clients.length > 1) parts.push(this.clients(client, clients));
      if (!open) parts.push(el("button", { text: "Sign out", onclick: async () => {
        await send("DELETE", "/api/session").catch(() => null);
        location.reload();
      } }));
      place.replaceChildren(...parts);
    } catch (error) {
      place.textContent = sentence(error);
    }
  }

  /** @param {string} client @param {string[]} clients */
  clients(client, clients) {
    const select = el("select", { id: "client" }, ...clients.map((name) => el("option", { value: name, selected: name === client, text: name })));
    select.addEventListener("change", () => location.assign(`${root}/?${new URLSearchParams({ client: select.value })}`));
    return /** @type {any} */ (el("label", {}, "Look at ", select));
  }
}
