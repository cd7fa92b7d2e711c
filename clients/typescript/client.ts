/**
 * A client for browsers and for Node 18 and newer. The types are generated from the server's own description
 * (`make typescript-client`), so that what does not fit it does not compile.
 */
import createClient from "openapi-fetch";
import type { components, paths } from "./schema";

export type Day = components["schemas"]["DayEnvelope"];
export type DayEvent = components["schemas"]["DayEvent"];

export interface Options {
  /** Of `crew token create`; none in a page of the server itself, which has a cookie. */
  token?: string;
  /** Whose days, where the token opens several clients'. */
  client?: string;
}

const FINAL = new Set(["processing_completed", "processing_failed"]);
const POLL_MS = 2000;

/** Every route of the server, typed: `crew(url).api.GET("/api/days/latest")`; and what takes more than one request. */
export function crew(url: string, options: Options = {}) {
  const headers: Record<string, string> = options.token ? { Authorization: `Bearer ${options.token}` } : {};
  const api = createClient<paths>({ baseUrl: url, headers });
  const whose = options.client === undefined ? {} : { client: options.client };

  /** A day as it is now; raw, with status 202, where it is not ready. */
  async function day(named: string, signal?: AbortSignal): Promise<{ day: Day; ready: boolean }> {
    const { data, error, response } = await api.GET("/api/days/{day}/conversations", {
      params: { path: { day: named }, query: whose },
      ...(signal ? { signal } : {}),
    });
    if (data === undefined) throw new Error(`${named}: ${JSON.stringify(error)}`);
    return { day: data, ready: response.status === 200 && !data.metadata.stale };
  }

  /** What happens to any day from now on, or after the event of a number; asks every other second. */
  async function* events(after?: number, signal?: AbortSignal): AsyncGenerator<DayEvent> {
    let known = after;
    while (!signal?.aborted) {
      const query = known === undefined ? whose : { ...whose, after: known };
      const { data, error } = await api.GET("/api/days/events", { params: { query }, ...(signal ? { signal } : {}) });
      if (data === undefined) throw new Error(JSON.stringify(error));
      const page = data as components["schemas"]["Events"];
      known = page.next;
      yield* page.events;
      if (page.events.length === 0) await new Promise((done) => setTimeout(done, POLL_MS));
    }
  }

  /** A day, once it is ready. */
  async function finishedDay(named: string, signal?: AbortSignal): Promise<Day> {
    const { data } = await api.GET("/api/days/events", { params: { query: whose } });
    let after = (data as components["schemas"]["Events"] | undefined)?.next ?? 0;
    for (;;) {
      const found = await day(named, signal);
      if (found.ready) return found.day;
      for await (const event of events(after, signal)) {
        after = event.seq;
        if (event.days_date === named && FINAL.has(event.type)) break;
      }
      if (signal?.aborted) throw signal.reason;
    }
  }

  return { api, day, events, finishedDay };
}
