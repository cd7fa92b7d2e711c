// @ts-check
/** One sentence in the place of the summary, where it hides nothing. */

import { $, el } from "./dom.js";

let timer = 0;

/**
 * Say something for a while.
 * @param {string} words
 * @param {{label: string, key?: string, act: () => void} | null} [offer] what may be done about it
 * @param {number} [forMs] 0: until something else is said
 */
export function say(words, offer = null, forMs = 8000) {
  clearTimeout(timer);
  const bar = $("message");
  bar.replaceChildren(el("span", { text: words }));
  if (offer) bar.append(el("button", { text: offer.key ? `${offer.label} (${offer.key})` : offer.label, onclick: offer.act }));
  bar.classList.toggle("on", Boolean(words));
  if (forMs && words) timer = window.setTimeout(() => say(""), forMs);
}
