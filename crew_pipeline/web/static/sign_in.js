// @ts-check
/** Signing in, whenever the server asks who this is. */

import { onUnauthorised } from "./api.js";
import { $ } from "./dom.js";

/** Ask for a token whenever the server wants one, and go on where the page was. */
export function askForTokens() {
  const dialog = $("sign-in"), form = $("sign-in-form"), told = $("sign-in-told");
  dialog.addEventListener("cancel", (/** @type {Event} */ event) => event.preventDefault());
  /** @type {Promise<void> | null} */
  let asking = null;
  onUnauthorised(() => (asking ||= new Promise((resolve) => {
    if (!dialog.open) dialog.showModal();
    form.onsubmit = async (/** @type {Event} */ event) => {
      event.preventDefault();
      const response = await fetch("/api/session", { method: "POST", headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ token: $("token").value, keep: $("token-keep").checked }) }).catch(() => null);
      if (!response) { told.textContent = "The server does not answer; try again."; return; }
      if (!response.ok) {
        told.textContent = (await response.json().catch(() => ({}))).detail || "That did not work.";
        return;
      }
      $("token").value = told.textContent = "";
      dialog.close();
      asking = null;
      resolve();
    };
  })));
}
