// The published call API, and nothing else: requests with a token, and the stream of events.
import { Stream } from './stream.mjs';

/** An answer that says no, or none at all (`kind`: `offline`, `timeout`). */
export class ApiError extends Error {
  constructor(message, { status, kind } = {}) {
    super(message);
    this.status = status;
    this.kind = kind;
  }
}

/** A request that has no answer by then is given up. */
const ANSWER_MS = 10_000;
/** An offer waits for the server's media, which has 10 s itself. */
const OFFER_MS = 15_000;

export class Api {
  #stream = null;
  /** Calls whose end the server has not confirmed. */
  #leaving = new Set();

  constructor(token) {
    this.token = token;
  }

  async #ask(path, options = {}, ms = ANSWER_MS) {
    let response;
    let text;
    try {
      const headers = { token: this.token, ...options.headers };
      response = await fetch(path, { ...options, headers, cache: 'no-store', signal: AbortSignal.timeout(ms) });
      text = await response.text();
    } catch (error) {
      this.#stream?.renew();
      throw new ApiError('no answer', { kind: error.name === 'TimeoutError' ? 'timeout' : 'offline' });
    }
    return read(response, text);
  }

  get(path) {
    return this.#ask(path);
  }

  post(path, body, more = {}) {
    const headers = { 'content-type': 'application/json' };
    return this.#ask(path, { method: 'POST', headers, body: JSON.stringify(body), ...more }, path === '/call/webrtc/offer' ? OFFER_MS : ANSWER_MS);
  }

  /** Ends a call, even while the page goes away. Whether the server heard; if not, it is told again when it is back. */
  async leave(callID) {
    this.#leaving.add(callID);
    const isHeard = await this.post('/call/hangup', { callID }, { keepalive: true }).then(() => true, ({ status }) => !!status && status !== 429);
    if (isHeard) this.#leaving.delete(callID);
    return isHeard;
  }

  /** Listens until stopped; `onUp`, `onDown`, `onEvent`, `onRefused`: see `Stream`. */
  listen({ onUp, ...handlers }) {
    const open = async (lastSeen, signal) => {
      const headers = { token: this.token, accept: 'text/event-stream', ...(lastSeen && { 'last-event-id': lastSeen }) };
      const response = await fetch('/call/events', { headers, cache: 'no-store', signal });
      if (!response.ok) read(response, await response.text());
      return response.body;
    };
    const up = async () => {
      for (const callID of this.#leaving) await this.leave(callID);
      await onUp();
    };
    this.#stream = new Stream(this.token, { ...handlers, open, onUp: up });
    return () => this.#stream.stop();
  }
}

function read(response, text) {
  let body = {};
  try {
    body = JSON.parse(text);
  } catch {
    // a proxy's page of its own: the status says enough
  }
  if (response.ok) return body.data ?? body; // either envelope
  throw new ApiError(body.error ?? response.statusText, { status: response.status });
}
