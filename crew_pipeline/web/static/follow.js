// @ts-check
/** A day that is being made, as it is told: over a WebSocket, by polling where there is none, and on from the last event. */

import { address, ask } from "./api.js";

/** @typedef {{type: string, seq: number, semantic_status?: string, progress?: number, stage?: string, message?: string,
 *   preliminary?: boolean, estimated_remaining_s?: number | null, error?: string}} Told */

const POLL_MS = 2000, SOCKET_MS = 4000, MOST_PAUSE_MS = 15000;
/** The close code for who may not look any more: asking says so, and has the page ask for a token. */
const NOT_ANY_MORE = 1008;

export class Follower {
  /**
   * @param {string} day
   * @param {(told: Told) => void} tell every event once, in order, and a snapshot on each connection
   * @param {(how: "live" | "polling" | "offline") => void} onState
   */
  constructor(day, tell, onState) {
    this.day = day;
    this.tell = tell;
    this.onState = onState;
    this.after = 0;
    this.stopped = false;
    this.failures = 0;
    /** @type {WebSocket | null} */
    this.socket = null;
    /** @type {number} */
    this.timer = 0;
    this.connect();
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.timer);
    this.socket?.close();
  }

  connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}${address(`/ws/semantic/${this.day}`, { after: this.after })}`);
    this.socket = socket;
    const slow = setTimeout(() => socket.close(), SOCKET_MS);
    let opened = false;
    socket.onopen = () => {
      opened = true;
      clearTimeout(slow);
      this.failures = 0;
      this.onState("live");
    };
    socket.onmessage = (event) => this.take(JSON.parse(event.data));
    socket.onclose = ({ code }) => {
      clearTimeout(slow);
      if (this.stopped) return;
      if (!opened) this.failures++;
      // Where sockets do not come through, the same events are asked for, and a socket is tried again now and then.
      this.timer = window.setTimeout(() => (this.failures || code === NOT_ANY_MORE ? this.poll(3) : this.connect()), opened ? 700 : 50);
    };
  }

  /** @param {number} times until a socket is tried again */
  async poll(times) {
    if (this.stopped) return;
    let answered = true;
    try {
      const response = await ask(`/api/semantic/events/${this.day}`, {}, { after: this.after });
      if (response.ok) for (const told of (await response.json()).events) this.take(told);
      const state = this.stopped ? null : await ask(`/api/semantic/status/${this.day}`);
      if (state?.ok && !this.stopped) this.tell({ type: "snapshot", seq: this.after, ...(await state.json()) });
      this.onState("polling");
    } catch {
      answered = false;
      this.onState("offline");
    }
    if (this.stopped) return;
    const pause = answered ? POLL_MS : Math.min(MOST_PAUSE_MS, 1000 * 2 ** Math.min(this.failures++, 4));
    this.timer = window.setTimeout(() => (times > 1 && answered ? this.poll(times - 1) : this.connect()), pause);
  }

  /** @param {Told} told */
  take(told) {
    if (this.stopped) return;
    if (told.type !== "snapshot") {
      if (told.seq <= this.after) return;
      this.after = told.seq;
    } else if (told.seq > this.after) this.after = told.seq;
    this.tell(told);
  }
}
