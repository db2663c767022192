// The stream of events, one for all tabs of this browser that have the same token: a browser opens six connections to a server,
// and a stream keeps one. The tab that has a lock holds the stream and tells the others (Web Locks API, BroadcastChannel). The
// browser gives the lock of a tab that goes to the next; a tab that it has put to sleep loses it to one that asks it in vain.
// Without these, as on a page by plain http, each tab has a stream of its own.

/** Silence for so long means that the stream is dead: a comment comes every 20 s. */
const SILENCE_MS = 45_000;
/** A stream that has not begun by then is given up. */
const BEGIN_MS = 10_000;
/** Between attempts, doubled each time. */
const [SHORTEST_MS, LONGEST_MS] = [500, 8_000];
/** A tab that holds the stream and is awake answers at once. */
const AWAKE_MS = 3_000;
/** While there is no stream, a tab that is looked at asks so often: the timers of the others may be slow. */
const ASK_MS = 5_000;

export class Stream {
  #over = new AbortController();
  #isUp = false;
  #lastSeen = null;
  /** What was told and is not done with. */
  #told = Promise.resolve();
  #channel = null;
  #me = Math.random();
  /** The tab that has the stream, as far as this one knows. */
  #holder = null;
  /** What a tab that comes later must know: how it stands, and the last word of a server that will stop. */
  #now = {};
  /** The connection of the tab that has the stream. */
  #connection = null;
  #wake = () => {};
  #asleep = null;

  /**
   * Listens until stopped, and comes back when the stream breaks. `open` begins one behind the event with an id; `onUp` is awaited
   * before events are told, `onDown` hears of each loss; a token that is refused ends it.
   */
  constructor(token, { open, onUp, onDown, onEvent, onRefused }) {
    Object.assign(this, { token, open, onUp, onDown, onEvent, onRefused });
    const alone = () => this.#hold(this.#over.signal);
    if (navigator.locks && globalThis.BroadcastChannel) this.#share().catch(alone);
    else alone();
  }

  stop() {
    this.#isUp = false;
    this.#over.abort();
  }

  /** It may look alive for a long time yet: it is set up anew, and shows how things are. */
  renew() {
    if (!this.#isUp) return;
    if (this.#connection) this.#connection.abort();
    else this.#channel?.postMessage({ renew: true });
  }

  // ---- between tabs

  async #share() {
    const { signal } = this.#over;
    // any page of this origin can list the locks: nobody shall know the channel who does not know the token
    const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(this.token));
    if (signal.aborted) return;
    const lock = `events ${new Uint8Array(digest).join('.')}`;
    this.#channel = new BroadcastChannel(`events ${this.token}`);
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    const hold = async (options) => {
      const turn = new AbortController();
      signal.addEventListener('abort', () => turn.abort());
      try {
        await navigator.locks.request(lock, options, () => this.#hold(turn.signal));
      } catch (error) {
        turn.abort();
        if (error.name !== 'AbortError') throw error;
        if (!signal.aborted) ask(); // another tab took it
      }
    };
    const ask = () => {
      if (this.#connection) return;
      this.#channel.postMessage({ ask: this.#me });
      this.#asleep ??= setTimeout(hold, AWAKE_MS, { steal: true });
    };
    const asking = setInterval(() => this.#isUp || document.hidden || ask(), ASK_MS);
    document.addEventListener('visibilitychange', () => document.hidden || ask(), { signal });
    signal.addEventListener('abort', () => {
      clearInterval(asking);
      this.#isAwake();
      this.#channel.close();
    });
    ask();
    while (!signal.aborted) await hold({ signal });
  }

  #hear(told) {
    if (this.#connection) {
      if (told.renew) this.#connection.abort();
      if (told.ask) this.#answer(told.ask);
      return;
    }
    // a tab that wakes does not know yet that it has lost the stream
    const isNews = told.to ? told.to === this.#me && this.#asleep : told.isTaken || told.by === this.#holder;
    if (!told.by || !isNews) return;
    this.#holder = told.by;
    this.#isAwake();
    this.#take(told);
  }

  #answer(to) {
    this.#wake();
    this.#channel.postMessage({ ...this.#now, id: this.#lastSeen, by: this.#me, to });
  }

  #isAwake() {
    clearTimeout(this.#asleep);
    this.#asleep = null;
  }

  /** To all tabs, this one included. */
  #tell(told) {
    this.#channel?.postMessage({ ...told, by: this.#me });
    this.#take(told);
  }

  /** One after the other: events may come while `onUp` still asks. */
  #take({ is, id, event }) {
    if (is) this.#now = { is };
    if (event?.event === 'server.draining') this.#now.event = event;
    this.#lastSeen = id ?? this.#lastSeen;
    const pass = async () => {
      if (this.#over.signal.aborted) return;
      if (is) this.#isUp = is === 'up';
      if (is === 'up') await this.onUp();
      if (is === 'down') this.onDown();
      if (event && !this.#over.signal.aborted) this.onEvent(event);
    };
    this.#told = this.#told.then(pass).catch(() => this.renew());
  }

  // ---- to the server

  async #hold(signal) {
    signal.addEventListener('abort', () => {
      this.#connection?.abort();
      this.#connection = null;
      this.#wake();
    });
    this.#isAwake();
    this.#now = {};
    this.#channel?.postMessage({ by: this.#me, isTaken: true });
    for (let pause = SHORTEST_MS; !signal.aborted; pause = Math.min(pause * 2, LONGEST_MS)) {
      this.#connection = new AbortController();
      try {
        await this.#listen(this.#connection);
      } catch (error) {
        if (!signal.aborted && error.status === 401) return this.onRefused();
      }
      if (signal.aborted) break;
      if (this.#now.is === 'up') pause = SHORTEST_MS;
      this.#tell({ is: 'down' });
      await new Promise((done) => {
        this.#wake = done;
        setTimeout(done, pause * (0.75 + Math.random() / 2));
      });
    }
  }

  async #listen(connection) {
    const late = setTimeout(() => connection.abort(), BEGIN_MS);
    const body = await this.open(this.#lastSeen, connection.signal).finally(() => clearTimeout(late));
    this.#tell({ is: 'up' });
    for await (const { id, data } of events(body, connection)) this.#tell({ id, event: data });
  }
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
