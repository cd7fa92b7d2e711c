// @ts-check
/** Signing in, whenever the server asks who this is. */

import { onUnauthorised, root } from "./api.js";
import { $ } from "./dom.js";

const SOON_MS = 5000;

/** Ask for a token whenever the server wants one, and go on where the page was. */
export function askForTokens() {
  const dialog = $("sign-in"), form = $("sign-in-form"), told = $("sign-in-told");
  /** @type {Promise<void> | null} */
  let asking = null;
  let signedIn = 0;
  // There is nothing behind it to go back to; browsers let it be closed all the same.
  dialog.addEventListener("close", () => asking && dialog.showModal());
  onUnauthorised(() => (asking ||= new Promise((resolve) => {
    if (performance.now() - signedIn < SOON_MS && signedIn) told.textContent = "This browser does not keep the cookie of this page; allow it.";
    if (!dialog.open) dialog.showModal();
    form.onsubmit = async (/** @type {Event} */ event) => {
      event.preventDefault();
      const response = await fetch(`${root}/api/session`, { method: "POST", headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ token: $("token").value, keep: $("token-keep").checked }) }).catch(() => null);
      if (!response) { told.textContent = "The server does not answer; try again."; return; }
      const answer = await response.json().catch(() => ({}));
      if (!response.ok) { told.textContent = answer.detail || "That did not work."; return; }
      const before = document.body.dataset.client;
      // What is here is somebody else's.
      if (before && before !== answer.client) return location.reload();
      document.body.dataset.client = answer.client;
      $("token").value = told.textContent = "";
      asking = null;
      signedIn = performance.now();
      dialog.close();
      resolve();
    };
  })));
}
