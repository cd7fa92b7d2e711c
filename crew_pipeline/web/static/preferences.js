// @ts-check
/** How somebody likes the page: kept in a cookie, so that the server's first lines look so too. */

const COOKIE = "crew_view";
const CHOICES = {
  theme: ["system", "light", "dark"],
  clock: ["24", "12"],
  density: ["comfortable", "compact"],
  numbers: ["pointed", "always"],
  keys: ["on", "off"],
};

/** @typedef {keyof typeof CHOICES} Preference */

/** @type {Record<Preference, string>} */
const chosen = { theme: "system", clock: "24", density: "comfortable", numbers: "pointed", keys: "on" };

for (const part of document.cookie.split("; ")) {
  if (!part.startsWith(`${COOKIE}=`)) continue;
  for (const pair of part.slice(COOKIE.length + 1).split("_")) {
    const [name, value] = pair.split("-");
    if (Object.hasOwn(CHOICES, name) && CHOICES[/** @type {Preference} */ (name)].includes(value)) {
      chosen[/** @type {Preference} */ (name)] = value;
    }
  }
}

/** @param {Preference} name */
export const preference = (name) => chosen[name];

/** @param {Preference} name */
export const choices = (name) => CHOICES[name];

/** @param {Preference} name @param {string} value */
export function prefer(name, value) {
  chosen[name] = value;
  const kept = Object.entries(chosen).map((pair) => pair.join("-")).join("_");
  document.cookie = `${COOKIE}=${kept}; path=/; max-age=31536000; samesite=strict`;
  apply();
}

/** Put them on the root, where the style looks. */
export function apply() {
  Object.assign(document.documentElement.dataset, chosen);
}
