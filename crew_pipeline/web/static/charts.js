// @ts-check
/** Small charts in plain SVG, each with its figures as a table for whoever cannot see it. */

import { counted, el, grouped, svg } from "./dom.js";

const WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/** @typedef {{name: string, values: number[]}} Series */

/**
 * Bars that are stacked, one for each label.
 * @param {{title: string, labels: string[], series: Series[], height?: number, onPick?: (index: number) => void}} chart
 */
export function bars({ title, labels, series, height = 90, onPick }) {
  const totals = labels.map((_, index) => series.reduce((sum, one) => sum + one.values[index], 0));
  const most = Math.max(1, ...totals), width = 600, step = width / labels.length, drawn = [];
  for (let index = 0; index < labels.length; index++) {
    let top = height;
    /** @type {Node[]} */
    const parts = [];
    series.forEach((one, number) => {
      const tall = (one.values[index] / most) * (height - 4);
      if (!tall) return;
      top -= tall;
      parts.push(svg("rect", { x: (index * step + 1).toFixed(1), y: top.toFixed(1), width: (step - 2).toFixed(1), height: tall.toFixed(1), class: `tone-${number}` }));
    });
    const told = series.filter((one) => one.values[index]).map((one) => `${one.name} ${one.values[index]}`).join(", ");
    const label = svg("title");
    label.textContent = `${labels[index]}: ${told || "nothing"}`;
    const group = svg("g", {}, svg("rect", { x: index * step, y: 0, width: step, height, class: "pick" }), ...parts, label);
    if (onPick && totals[index]) {
      group.classList.add("can-pick");
      group.addEventListener("click", () => onPick(index));
    }
    drawn.push(group);
  }
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" }, ...drawn);
  const marks = [0, Math.floor(labels.length / 4), Math.floor(labels.length / 2), Math.floor((3 * labels.length) / 4), labels.length - 1];
  const axis = el("div", { class: "axis", "aria-hidden": "true" }, ...[...new Set(marks)].map((at) => el("span", { text: labels[at] })));
  const legend = el("p", { class: "legend", "aria-hidden": "true" }, ...(series.length < 2 ? [] : series.map((one, number) =>
    el("span", {}, el("i", { class: `tone-${number}` }), one.name))));
  return figure(title, [/** @type {any} */ (picture), axis, legend], table(title, labels, series));
}

/**
 * A line over time.
 * @param {{title: string, labels: string[], values: (number | null)[], unit?: string}} chart
 */
export function curve({ title, labels, values, unit = "" }) {
  const known = values.filter((value) => value !== null), most = Math.max(1, ...known), width = 300, height = 56;
  const step = width / Math.max(1, values.length - 1);
  let path = "", pen = "M";
  values.forEach((value, index) => {
    if (value === null) { pen = "M"; return; }
    path += `${pen}${(index * step).toFixed(1)} ${(height - 3 - (value / most) * (height - 6)).toFixed(1)}`;
    pen = "L";
  });
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" }, svg("path", { d: path, class: "curve" }));
  const last = known.at(-1);
  const head = el("p", { class: "now" }, el("strong", { text: last === undefined ? "–" : `${grouped(last)}${unit}` }), ` most ${grouped(most)}${unit}`);
  return figure(title, [head, /** @type {any} */ (picture)], table(title, labels, [{ name: title, values: values.map((value) => value ?? 0) }]));
}

/**
 * A cell for each weekday and hour, darker where there is more.
 * @param {number[][]} hours by weekday, Monday first, and hour
 * @param {string} title
 * @param {string} unit
 */
export function hoursGrid(hours, title, unit) {
  const most = Math.max(1, ...hours.flat());
  const cells = hours.flatMap((row, day) => row.map((count, hour) => {
    const cell = svg("rect", { x: hour * 25 + 0.5, y: day * 16 + 0.5, width: 24, height: 15, rx: 2, class: "cell", "fill-opacity": count ? 0.15 + (0.85 * count) / most : 0.05 });
    const told = svg("title");
    told.textContent = `${WEEKDAYS[day]} ${hour}:00: ${counted(count, unit)}`;
    cell.append(told);
    return cell;
  }));
  const rows = hours.map((row, day) => el("tr", {}, el("th", { scope: "row", text: WEEKDAYS[day] }), ...row.map((count) => el("td", { text: String(count) }))));
  return el("figure", { class: "chart hours-grid" }, el("figcaption", { text: title }),
    /** @type {any} */ (svg("svg", { viewBox: "0 0 600 112", preserveAspectRatio: "none", "aria-hidden": "true" }, ...cells)),
    el("div", { class: "unseen" }, el("table", {}, el("caption", { text: title }), el("tbody", {}, ...rows))));
}

/** @param {string} title @param {Node[]} parts @param {HTMLElement} figures */
const figure = (title, parts, figures) => el("figure", { class: "chart" }, el("figcaption", { text: title }), ...parts, figures);

/** @param {string} title @param {string[]} labels @param {Series[]} series */
function table(title, labels, series) {
  const told = labels.flatMap((label, index) => series.some((one) => one.values[index])
    ? [el("tr", {}, el("th", { scope: "row", text: label }), ...series.map((one) => el("td", { text: String(one.values[index]) })))] : []);
  return el("table", { class: "unseen" }, el("caption", { text: title }),
    el("thead", {}, el("tr", {}, el("td"), ...series.map((one) => el("th", { scope: "col", text: one.name })))), el("tbody", {}, ...told.slice(0, 60)));
}
