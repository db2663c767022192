// One call of this page: what the API says of it, its media, and what the person wants of it. It tells `onChange`
// after each change and `onEnd` once.
import { Media, microphone, stop } from './media.mjs';
import { claim } from './tabs.mjs';

/** The question for the microphone is worth a word only when it stays open. */
const ASKING_MS = 400;
/** Sound that was lost is sought for so long. */
const RECOVER_MS = 60_000;
const RETRY_MS = 1_500;
/** The API takes so many keys at once. */
const MOST_KEYS = 64;

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

export class Call {
  #letGo = null;
  /** Whether the call ends when this page cannot go on with it. One that was only found may be another's. */
  #isOurs = true;
  #keys = '';
  #sending = null;
  #lostAt = null;

  /** `latest` gives the last word of an event about a call, if there was one: events may be faster than answers. */
  constructor({ api, element, name, number, since, latest, nameFor, onChange, onEnd }) {
    Object.assign(this, { api, element, name, number, latest, nameFor, onChange, onEnd });
    this.id = null;
    this.state = 'preparing';
    this.direction = 'outbound';
    this.media = null;
    this.since = since ?? null;
    /** Whether the person is looking at a question for the microphone. */
    this.isAsking = false;
    /** What was asked for and is not confirmed: `hold`, `resume`. */
    this.pending = null;
    /** Whether the other side is heard, and takes keys, though it has not answered. */
    this.isEarly = false;
    this.isOver = false;
    /** How it ended, when it was hung up here; `isAsked`: the server has yet to hear of it. */
    this.ended = null;
  }

  /** Calls the number. The microphone comes first: nobody shall be rung by a page that then cannot speak. */
  async dial() {
    await this.#begin(async () => {
      await this.#open();
      if (this.isOver) return;
      this.state = 'starting';
      this.onChange();
      const { call } = await this.api.post('/call/make', { Phone: this.number });
      this.id = call.callID;
      if (this.isOver) return void this.api.leave(this.id); // hung up meanwhile
      await this.#claim();
      this.update(this.latest(this.id) ?? call);
      if (!this.isOver) await this.media.attach(this.id);
    });
  }

  /** Answers a call that rings, with a microphone that is there. */
  async answer(call, stream) {
    await this.#begin(async () => {
      this.#know(call);
      await this.#open(stream);
      await this.#claim(); // the other tabs hear that it was answered, and ask whose it is, before this one
      const answered = await this.api.post('/call/answer', { callID: this.id }).catch((error) => {
        throw error.status === 400 || error.status === 404 ? Object.assign(error, { kind: 'answered' }) : error;
      });
      if (this.isOver) return;
      await this.#claim(); // another one may have tried at the same time, and failed
      this.update(answered.call);
      if (!this.isOver) await this.media.attach(this.id);
    });
  }

  /** Takes up a call that goes on elsewhere, or nowhere. Whoever has it keeps it until this page has its sound. */
  async rejoin(call) {
    this.#isOurs = false;
    await this.#begin(async () => {
      this.#know(call);
      await this.#claim();
      this.update(call);
      if (!this.isOver) await this.#open();
      if (!this.isOver) await this.media.attach(this.id);
    });
  }

  #know(call) {
    this.id = call.callID;
    this.direction = call.direction;
  }

  async #claim(options) {
    if (this.#letGo) return;
    this.#letGo = await claim({ callID: this.id, direction: this.direction }, { ...options, onTaken: () => this.#stepBack('tab') });
    if (this.isOver) this.#letGo?.();
  }

  async #begin(steps) {
    try {
      await steps();
    } catch (error) {
      if (error.status === 404 && this.id) return this.#askWhy(error);
      this.#fail(error);
    }
  }

  /** A call that was refused at the door is over already; any other of ours must not go on without sound. */
  #fail(error) {
    if (this.id && this.#isOurs && !this.isOver && error.kind !== 'answered') this.api.leave(this.id);
    this.#end({ error });
  }

  /** It was over before its media came: the API knows the reason for a while. */
  async #askWhy(error) {
    const { call } = await this.api.get(`/call/status?callID=${this.id}`).catch(() => ({}));
    if (call?.state === 'ended') this.update(call);
    else this.#end({ error });
  }

  async #open(stream) {
    const asking = setTimeout(() => {
      this.isAsking = true;
      this.onChange();
    }, ASKING_MS);
    try {
      stream ??= await microphone();
    } finally {
      clearTimeout(asking);
      this.isAsking = false;
    }
    if (this.isOver) return stop(stream);
    this.media = new Media({
      api: this.api, stream, element: this.element,
      onChange: () => this.#mediaChanged(), onFailed: (error) => this.#mediaFailed(error),
    });
    this.onChange();
  }

  #mediaChanged() {
    if (this.isOver) return;
    if (this.isHeard) this.#lostAt = null;
    if (this.isHeard && !this.#isOurs) {
      this.#isOurs = true;
      this.#claim({ steal: true });
    }
    this.onChange();
  }

  #mediaFailed(error) {
    if (error.kind === 'lost') this.#recover(error);
    else this.#fail(error);
  }

  /** The sound is lost: it is sought again, unless somebody else has it. */
  async #recover(error) {
    this.#lostAt ??= Date.now();
    for (let taken = 0; !this.isOver; await pause(RETRY_MS)) {
      if (Date.now() - this.#lostAt > RECOVER_MS) return this.#fail(error);
      const { call } = await this.api.get(`/call/status?callID=${this.id}`).catch(({ status }) => (status === 404 ? { call: { state: 'ended', endReason: 'forgotten' } } : {}));
      if (!call || this.isOver) continue;
      if (call.state === 'ended') return this.update(call);
      // the server lost us, too, or it has another browser now; it may be a little later to notice
      if (/^connect/.test(call.media?.webrtc) && ++taken < 4) continue;
      if (taken >= 4) return this.#stepBack('elsewhere');
      try {
        return await this.media.attach(this.id);
      } catch {
        // the next round tells
      }
    }
  }

  /** What the API says of this call. */
  update(call) {
    if (this.isOver) return;
    this.state = call.state;
    this.direction = call.direction ?? this.direction;
    this.isEarly = !!call.media?.early;
    if (call.to) this.name = this.nameFor(call);
    if (call.answeredAt && !this.since) this.since = Date.now();
    if (call.state === 'ended') this.#end({ call });
    else this.onChange();
  }

  /** Whether the server heard of it. */
  async hangUp() {
    if (this.isOver) return true;
    const ended = (this.ended = { endReason: this.since ? 'user_ended' : 'cancelled', direction: this.direction, answeredAt: this.since, isAsked: !!this.id });
    const isHeard = this.id ? this.api.leave(this.id) : true;
    this.#end({ call: ended });
    return isHeard;
  }

  /** The page goes away: what is ours must not go on without anybody to hang it up. */
  leave() {
    if (this.#isOurs) this.hangUp();
  }

  get isOurs() {
    return this.#isOurs;
  }

  async hold(isHeld) {
    if (this.pending) return;
    this.pending = isHeld ? 'hold' : 'resume';
    this.onChange();
    try {
      const { call } = await this.api.post(isHeld ? '/call/hold' : '/call/resume', { callID: this.id });
      this.update(call);
    } finally {
      this.pending = null; // after silence it may be so or not: the list tells when the server is back
      if (!this.isOver) this.onChange();
    }
  }

  mute(isMuted) {
    this.media?.mute(isMuted);
    this.onChange();
  }

  /** Keys go one request after the other, or they overtake each other; those that wait go together. */
  press(digit) {
    this.#keys += digit;
    this.#sending ??= this.#send().finally(() => (this.#sending = null));
    return this.#sending;
  }

  async #send() {
    try {
      while (this.#keys && !this.isOver) {
        const digits = this.#keys.slice(0, MOST_KEYS);
        this.#keys = this.#keys.slice(MOST_KEYS);
        await this.api.post('/call/dtmf', { callID: this.id, digits });
      }
    } catch (error) {
      throw Object.assign(error, { isAboutKeys: true });
    } finally {
      this.#keys = ''; // the rest of a number that lacks a key is a wrong number
    }
  }

  get takesKeys() {
    return this.state === 'active' || (this.state === 'ringing' && this.isEarly);
  }

  get isMuted() {
    return this.media?.isMuted ?? false;
  }

  /** Whether sound comes and goes. */
  get isHeard() {
    return this.media?.path === 'connected';
  }

  #stepBack(where) {
    this.#end({ where });
  }

  #end(how) {
    if (this.isOver) return;
    this.isOver = true;
    this.state = 'ended';
    this.media?.close();
    this.#letGo?.();
    this.onEnd(how);
  }
}
