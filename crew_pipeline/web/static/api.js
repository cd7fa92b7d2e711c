// @ts-check
/** The documented API, and what goes wrong on the way there. */

/** The path that everything lies below. */
export const root = document.documentElement.dataset.root || "";
const client = new URLSearchParams(location.search).get("client");

/** An answer that is a problem, with its sentence. */
export class Problem extends Error {
  /** @param {number} status @param {string} detail */
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** No answer came: the network, or the server, is away. */
export class Unreachable extends Error {}

/** Called when the server asks who this is. @type {() => Promise<void>} */
let signIn = () => new Promise(() => {});

/** @param {() => Promise<void>} ask */
export const onUnauthorised = (ask) => {
  signIn = ask;
};

/**
 * The address of a route, for the client that is looked at.
 * @param {string} path
 * @param {Record<string, any>} [parameters]
 */
export function address(path, parameters = {}) {
  const query = new URLSearchParams(parameters);
  if (client) query.set("client", client);
  const asked = query.toString();
  return asked ? `${root}${path}?${asked}` : root + path;
}

/**
 * Ask, whatever the answer is; asks for a token where one is needed, and then again.
 * @param {string} path
 * @param {RequestInit} [options]
 * @param {Record<string, any>} [parameters]
 * @returns {Promise<Response>}
 */
export async function ask(path, options = {}, parameters = {}) {
  for (;;) {
    let response;
    try {
      response = await fetch(address(path, parameters), options);
    } catch (error) {
      if (/** @type {any} */ (error).name === "AbortError") throw error;
      throw new Unreachable("The server does not answer.");
    }
    if (response.status !== 401) return response;
    await signIn();
  }
}

/**
 * What a route answers.
 * @param {string} path
 * @param {Record<string, any>} [parameters]
 * @param {RequestInit} [options]
 * @returns {Promise<any>}
 */
export async function get(path, parameters = {}, options = {}) {
  return read(await ask(path, options, parameters));
}

/**
 * Send something, and get what is answered.
 * @param {string} method
 * @param {string} path
 * @param {any} [body]
 * @returns {Promise<any>}
 */
export async function send(method, path, body) {
  const options = { method, headers: { "Content-Type": "application/json" }, body: body && JSON.stringify(body) };
  return read(await ask(path, options));
}

/** @param {Response} response */
async function read(response) {
  if (response.status === 204) return null;
  const content = await response.json().catch(() => ({}));
  if (!response.ok) throw new Problem(response.status, content.detail || "The server could not do that.");
  return content;
}
