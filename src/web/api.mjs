// The published call API, and nothing else: requests with a token, and the stream of events.

/** An answer that says no, or none at all (`kind: 'offline'`). */
export class ApiError extends Error {
  constructor(message, { status, kind } = {}) {
    super(message);
    this.status = status;
    this.kind = kind;
  }
}

/** Silence for so long means that the stream is dead: a comment comes every 20 s. */
const SILENCE_MS = 45_000;

export class Api {
  constructor(token) {
    this.token = token;
  }

  async #fetch(path, options = {}) {
    try {
      return await fetch(path, { ...options, headers: { token: this.token, ...options.headers }, cache: 'no-store' });
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      throw new ApiError('no answer', { kind: 'offline' });
    }
  }

  async #read(response) {
    const body = await response.json().catch(() => ({}));
    if (response.ok) return body.data ?? body; // either envelope
    throw new ApiError(body.error ?? response.statusText, { status: response.status });
  }

  async get(path) {
    return this.#read(await this.#fetch(path));
  }

  async post(path, body) {
    const headers = { 'content-type': 'application/json' };
    return this.#read(await this.#fetch(path, { method: 'POST', headers, body: JSON.stringify(body) }));
  }

  /** Says goodbye to a call while the page goes away. */
  leave(callID) {
    const headers = { token: this.token, 'content-type': 'application/json' };
    fetch('/call/hangup', { method: 'POST', headers, body: JSON.stringify({ callID }), keepalive: true }).catch(() => {});
  }

  /**
   * Listens until stopped, and comes back when the stream breaks. `onUp` is awaited before events are told, `onDown`
   * hears of each loss; a token that is refused ends it.
   */
  listen({ onUp, onDown, onEvent, onRefused }) {
    let stopped = false;
    let abort = new AbortController();
    let lastSeen = null;
    const run = async () => {
      for (let pause = 500; !stopped; pause = Math.min(pause * 2, 8_000)) {
        try {
          abort = new AbortController();
          const headers = { accept: 'text/event-stream', ...(lastSeen && { 'last-event-id': lastSeen }) };
          const response = await this.#fetch('/call/events', { headers, signal: abort.signal });
          if (response.status === 401) return onRefused();
          if (!response.ok) await this.#read(response);
          await onUp();
          pause = 500;
          for await (const event of read(response.body, abort)) {
            lastSeen = event.id ?? lastSeen;
            onEvent(event.data);
          }
        } catch (error) {
          if (stopped) return;
          if (error.status === 401) return onRefused();
        }
        if (stopped) return;
        onDown();
        await new Promise((done) => setTimeout(done, pause * (0.75 + Math.random() / 2)));
      }
    };
    run();
    return () => {
      stopped = true;
      abort.abort();
    };
  }
}

/** Events of a stream (HTML standard, "server-sent events", as far as this server writes them). */
async function* read(body, abort) {
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
