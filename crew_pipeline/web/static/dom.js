// @ts-check
/** Making elements, and what every view says in the same words. */

/** @typedef {Node | string | null | undefined | false} Child */

/**
 * An element with attributes and children. `class`, `text` and `on…` are what they say; null leaves an attribute out.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>} [attributes]
 * @param {Child[]} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") made.textContent = value;
    else if (name === "class") made.className = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) if (child) made.append(child);
  return made;
}

/**
 * An SVG element.
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {Node[]} children
 */
export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

/**
 * The element of an id, which the page has.
 * @param {string} id
 * @returns {any}
 */
export const $ = (id) => document.getElementById(id);

/**
 * "1 line", "1,250 lines".
 * @param {number} number
 * @param {string} one
 * @param {string} [many]
 */
export const counted = (number, one, many = `${one}s`) => `${grouped(number)} ${number === 1 ? one : many}`;

/** "1,250". Formatters of the browser's cost some 10 ms to make. @param {number} number */
export const grouped = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, ",");

/**
 * A call that is made once however often it is asked for within a while (ms).
 * @param {() => void} call
 * @param {number} within
 */
export function later(call, within) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = window.setTimeout(call, within);
  };
}

/** When the browser has nothing else to do. @param {(deadline: IdleDeadline) => void} call */
export const whenIdle = (call) =>
  "requestIdleCallback" in window
    ? window.requestIdleCallback(call, { timeout: 2000 })
    : setTimeout(() => call(/** @type {any} */ ({ timeRemaining: () => 8 })), 30);
