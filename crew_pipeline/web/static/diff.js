// @ts-check
/** The changes from one text to another, row by row. */

const MOST_CHANGES = 400, CONTEXT = 2;

/** @typedef {["+" | "-" | " " | "…", string]} Change */

/**
 * Rows taken out (-) and put in (+) with the rows beside them, by the shortest edit script (Myers 1986, "An O(ND)
 * difference algorithm and its variations"); where too many differ, all of one and then all of the other.
 * @param {string[]} old
 * @param {string[]} now
 * @returns {Change[]}
 */
export function changes(old, now) {
  const most = Math.min(old.length + now.length, MOST_CHANGES), reach = new Map([[1, 0]]), trace = [];
  /** @type {Change[] | null} */
  let script = null;
  for (let d = 0; d <= most && !script; d++) {
    trace.push(new Map(reach));
    for (let k = -d; k <= d && !script; k += 2) {
      let x = comesDown(reach, k, d) ? at(reach, k + 1) : at(reach, k - 1) + 1, y = x - k;
      while (x < old.length && y < now.length && old[x] === now[y]) { x++; y++; }
      reach.set(k, x);
      if (x >= old.length && y >= now.length) script = walked(old, now, trace, d);
    }
  }
  /** @type {Change[]} */
  const whole = script || [...old.map(taken), ...now.map(put)];
  const near = new Set();
  whole.forEach(([sign], place) => {
    if (sign !== " ") for (let by = -CONTEXT; by <= CONTEXT; by++) near.add(place + by);
  });
  return whole.flatMap((one, place) => {
    if (near.has(place)) return [one];
    return near.has(place - 1) || !place ? [/** @type {Change} */ (["…", ""])] : [];
  });
}

/** @param {string} row @returns {Change} */
const taken = (row) => ["-", row];
/** @param {string} row @returns {Change} */
const put = (row) => ["+", row];
/** @param {Map<number, number>} reach @param {number} k */
const at = (reach, k) => reach.get(k) ?? -1;
/** @param {Map<number, number>} reach @param {number} k @param {number} d */
const comesDown = (reach, k, d) => k === -d || (k !== d && at(reach, k - 1) < at(reach, k + 1));

/**
 * @param {string[]} old @param {string[]} now @param {Map<number, number>[]} trace @param {number} last
 * @returns {Change[]}
 */
function walked(old, now, trace, last) {
  /** @type {Change[]} */
  const script = [];
  let x = old.length, y = now.length;
  for (let d = last; d >= 0; d--) {
    const reach = trace[d], k = x - y, down = comesDown(reach, k, d);
    const fromK = down ? k + 1 : k - 1, fromX = d ? at(reach, fromK) : 0, fromY = d ? fromX - fromK : 0;
    while (x > fromX && y > fromY) { x--; y--; script.push([" ", old[x]]); }
    if (d) script.push(down ? put(now[--y]) : taken(old[--x]));
  }
  return script.reverse();
}
