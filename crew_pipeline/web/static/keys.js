// @ts-check
/** What keys do: one table, of which the help is made. */

import { $, el } from "./dom.js";
import { preference } from "./preferences.js";

/** @typedef {{keys: string[], does: string, act: () => void}} Key */

/** @param {Key[]} table @param {{onEscape: () => boolean, onEnter: () => void}} special */
export function listen(table, special) {
  const byKey = new Map(table.flatMap((entry) => entry.keys.map((key) => [key, entry])));
  let before = "", beforeAt = 0;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target;
    if (!(target instanceof Element) || target.closest("input, select, textarea") || document.querySelector("dialog[open]")) return;
    if (event.key === "Escape" && special.onEscape()) return event.preventDefault();
    if (event.key === "Enter" && target.classList.contains("line")) return special.onEnter();
    // Who speaks to the computer may say letters that were not meant for the page (WCAG 2.1.4).
    if (event.key.length === 1 && preference("keys") === "off") return;
    const chord = performance.now() - beforeAt < 1200 ? `${before} ${event.key}` : "";
    const entry = byKey.get(chord) || byKey.get(event.key);
    [before, beforeAt] = [event.key, performance.now()];
    if (!entry) return;
    event.preventDefault();
    entry.act();
  });
  $("help-keys").replaceChildren(...table.map((entry) => el("div", {},
    el("dt", {}, ...entry.keys.slice(0, 2).flatMap((key, index) => [index ? " or " : null, ...key.split(" ").map((one) => el("kbd", { text: shown(one) }))])),
    el("dd", { text: entry.does }))));
}

/** @param {string} key */
const shown = (key) => ({ ArrowLeft: "←", ArrowRight: "→", " ": "Space" })[key] || key;
