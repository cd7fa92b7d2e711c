// @ts-check
/** The operator's page: what `crew status` knows, to look at. */

import { Problem, get, root } from "./api.js";
import { bars, curve } from "./charts.js";
import { $, counted, el, grouped } from "./dom.js";
import { apply } from "./preferences.js";
import { askForTokens } from "./sign_in.js";

const AGAIN_MS = 15000;
const DAYS = /** @type {Record<string, string>} */ ({ completed: "ready", processing: "in work", queued: "asked for", pending: "waiting", failed: "failed" });
const TRIED = /** @type {Record<string, string>} */ ({ completed: "made" });

/** @param {string} title @param {...Node} parts */
const part = (title, ...parts) => el("section", { "aria-label": title }, el("h2", { text: title }), ...parts);

/** @param {string[]} names @param {(string | number | null | Node)[][]} rows @param {string} none @param {string} title */
function table(title, names, rows, none) {
  if (!rows.length) return el("p", { class: "soft", text: none });
  const body = rows.map((row) => el("tr", {}, ...row.map((value) => el("td", {}, value instanceof Node ? value : String(value ?? "")))));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${title}, as a table` },
    el("table", { class: "figures-table" }, el("thead", {}, el("tr", {}, ...names.map((text) => el("th", { scope: "col", text })))), el("tbody", {}, ...body)));
}

/** @param {string | null} moment */
const ago = (moment) => {
  if (!moment) return "never";
  const passed = (Date.now() - Date.parse(moment)) / 1000, s = Math.abs(passed);
  const long = s < 90 ? `${Math.round(s)} s` : s < 5400 ? `${Math.round(s / 60)} min` : s < 129600 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} days`;
  return passed < -1 ? `in ${long}` : `${long} ago`;
};

/** @param {string} day @param {string} client */
const link = (day, client) => el("a", { href: `${root}/?${new URLSearchParams({ day, client })}`, text: day });

/** @param {any} told */
function draw(told) {
  const failures = told.failed.length, alerts = told.alerts.length;
  const state = alerts || failures ? "failed" : told.workers ? "ready" : "waiting";
  $("state").textContent = alerts ? counted(alerts, "alert") : failures ? counted(failures, "failed day") : told.workers ? "all is well" : "no worker is alive";
  $("state").dataset.state = state;
  const shares = Object.entries(told.hit_rate).map(([over, rate]) => /** @type {any} */ (rate).instant === null ? "" : `${(100 * /** @type {any} */ (rate).instant).toFixed(1)}% at once over ${over.replace("_", " ")}`);
  $("summary").textContent = [counted(told.workers, "worker"), ...shares, told.system ? `sampled ${Math.round(told.system.age_s)} s ago` : ""].filter(Boolean).join(" · ");
  $("status").replaceChildren(
    part("Days", el("dl", { class: "figures" }, ...Object.entries(told.by_status).map(([status, { days, conversations }]) =>
      el("div", { title: counted(conversations, "conversation") }, el("dt", { text: DAYS[status] || status }), el("dd", { text: grouped(days) }))))),
    part("Alerts", table("Alerts", ["since", "of", "what"], told.alerts.map((/** @type {any} */ alert) => [ago(alert.raised_at), alert.subject, alert.message]), "No alert is open.")),
    part("Failed days", table("Failed days", ["day", "client", "why", "again"], told.failed.map((/** @type {any} */ day) => [link(day.day, day.client), day.client, day.error, day.retry_at ? ago(day.retry_at) : "set aside"]), "No day has failed.")),
    part("What waits", table("What waits", ["day", "client", "priority", "conversations", "lines"], told.queue.map((/** @type {any} */ day) => [link(day.day, day.client), day.client, day.priority, day.conversations, day.lines]), "Every day is ready.")),
    part("The last day", samples(told.samples)),
    part("Visits", visits(told.visits)),
    part("Discovery", table("Discovery", ["crew", "client", "conversations", "last looked", "took", "new in a day", "last error"],
      told.discovery.map((/** @type {any} */ crew) => [crew.crew, crew.client, crew.conversations, ago(crew.last_run), crew.last_seconds === null ? "" : `${crew.last_seconds} s`, crew.last_day.created, crew.last_error]), "No history table is read.")),
    part("Last runs", table("Last runs", ["day", "client", "ended", "how"], told.last_runs.map((/** @type {any} */ run) => [run.day, run.client, ago(run.ended_at), TRIED[run.outcome] || run.outcome]), "No run has ended yet.")),
  );
}

/** @param {any[]} taken */
function samples(taken) {
  if (taken.length < 2) return el("p", { class: "soft", text: "No samples yet; one is taken every few minutes while a worker or Dagster runs." });
  const labels = taken.map((sample) => sample.taken_at.slice(11, 16));
  const of = (/** @type {string} */ name, by = 1) => taken.map((sample) => (sample[name] === null ? null : Math.round(sample[name] / by)));
  return el("div", { class: "charts" },
    curve({ title: "Days waiting", labels, values: of("days_waiting") }),
    curve({ title: "Longest wait", labels, values: of("longest_wait_s", 60), unit: " min" }),
    curve({ title: "Processor", labels, values: of("cpu_percent"), unit: "%" }),
    curve({ title: "Memory free", labels, values: of("memory_free_mb"), unit: " MB" }),
    curve({ title: "Disk free", labels, values: of("disk_free_mb", 1024), unit: " GB" }),
    curve({ title: "Daemon’s heartbeat", labels, values: of("daemon_heartbeat_age_s"), unit: " s ago" }),
    curve({ title: "Runs that failed", labels, values: of("runs_failed") }));
}

/** @param {any[]} days */
function visits(days) {
  if (!days.length) return el("p", { class: "soft", text: "Nobody has asked for a day yet." });
  const byDate = new Map(days.map((day) => [day.date, day])), now = Date.now();
  const labels = Array.from({ length: 14 }, (_, back) => new Date(now - (13 - back) * 864e5).toISOString().slice(0, 10));
  const values = (/** @type {string} */ kind) => labels.map((date) => byDate.get(date)?.[kind] || 0);
  return bars({ title: "Requests for days, by how they were answered", labels, series: [
    { name: "at once", values: values("hit") }, { name: "at once, out of date", values: values("stale") }, { name: "made first", values: values("miss") }] });
}

async function look() {
  // Nothing is taken from under somebody who reads or has gone to it.
  if ($("status").contains(document.activeElement) || !getSelection()?.isCollapsed) return;
  try {
    draw(await get("/api/status"));
  } catch (error) {
    const words = error instanceof Problem ? error.message : "The server does not answer; asking again.";
    $("state").textContent = "not shown";
    $("state").dataset.state = "offline";
    $("summary").textContent = words;
    if (error instanceof Problem) $("status").replaceChildren(el("p", { class: "soft", text: words }));
  }
}

apply();
askForTokens();
void look();
setInterval(() => !document.hidden && void look(), AGAIN_MS);
