// The published call API, and nothing else: requests with a token, and the stream of events.

/** An answer that says no, or none at all (`kind`: `offline`, `timeout`). */
export class ApiError extends Error {
  constructor(message, { status, kind } = {}) {
    super(message);
    this.status = status;
    this.kind = kind;
  }
}

/** Silence for so long means that the stream is dead: a comment comes every 20 s. */
const SILENCE_MS = 45_000;
/** A request that has no answer by then is given up. */
const ANSWER_MS = 10_000;
/** An offer waits for the server's media, which has 10 s itself. */
const OFFER_MS = 15_000;

export class Api {
  #stream = null;
  #isUp = false;
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
      // the stream may look alive for a long time yet: it is set up anew, and shows how things are
      if (this.#isUp) this.#stream.abort();
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

  /**
   * Listens until stopped, and comes back when the stream breaks. `onUp` is awaited before events are told, `onDown`
   * hears of each loss; a token that is refused ends it.
   */
  listen({ onUp, onDown, onEvent, onRefused }) {
    let stopped = false;
    let lastSeen = null;
    const once = async (abort) => {
      const headers = { token: this.token, accept: 'text/event-stream', ...(lastSeen && { 'last-event-id': lastSeen }) };
      const late = setTimeout(() => abort.abort(), ANSWER_MS);
      const response = await fetch('/call/events', { headers, cache: 'no-store', signal: abort.signal }).finally(() => clearTimeout(late));
      if (!response.ok) read(response, await response.text());
      this.#isUp = true;
      for (const callID of this.#leaving) await this.leave(callID);
      await onUp();
      for await (const event of events(response.body, abort)) {
        lastSeen = event.id ?? lastSeen;
        onEvent(event.data);
      }
    };
    const run = async () => {
      for (let pause = 500; !stopped; pause = Math.min(pause * 2, 8_000)) {
        try {
          await once((this.#stream = new AbortController()));
        } catch (error) {
          if (!stopped && error.status === 401) return onRefused();
        }
        if (stopped) return;
        if (this.#isUp) pause = 500;
        this.#isUp = false;
        onDown();
        await new Promise((done) => setTimeout(done, pause * (0.75 + Math.random() / 2)));
      }
    };
    run();
    return () => {
      stopped = true;
      this.#stream.abort();
    };
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

/** Events of a stream (HTML standard, "server-sent events", as far as this server writes them). */
async function* events(body, abort) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  let timer;
  try {
    for (;;) {
      clearTimeout(timer);
      timer = setTimeout(() => abort.abort(), SILENCE_MS);
      const { value, done } = await reader.read();
      if (done) return;
      text += value;
      const blocks = text.split('\n\n');
      text = blocks.pop();
      for (const block of blocks) {
        const field = (name) => block.split('\n').find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
        const data = field('data');
        if (data) yield { id: field('id'), data: JSON.parse(data) };
      }
    }
  } finally {
    clearTimeout(timer);
    reader.cancel().catch(() => {});
  }
}
