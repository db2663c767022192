// One call of this page: what the API says of it, its media, and what the person wants of it. It tells `onChange`
// after each change and `onEnd` once.
import { Media, microphone } from './media.mjs';

export class Call {
  /** `latest` gives the last word of an event about a call, if there was one: events may be faster than answers. */
  constructor({ api, element, name, number, latest, onChange, onEnd }) {
    Object.assign(this, { api, element, name, number, latest, onChange, onEnd });
    this.id = null;
    this.state = 'preparing';
    this.direction = 'outbound';
    this.media = null;
    this.since = null;
    this.isOver = false;
  }

  /** Calls the number. The microphone comes first: nobody shall be rung by a page that then cannot speak. */
  async dial() {
    await this.#begin(async () => {
      await this.#open();
      if (this.isOver) return;
      const { call } = await this.api.post('/call/make', { Phone: this.number });
      this.id = call.callID;
      if (this.isOver) return void this.api.leave(this.id); // hung up meanwhile
      this.update(this.latest(this.id) ?? call);
      if (!this.isOver) await this.media.attach(this.id);
    });
  }

  /** Answers a call that rings. */
  async answer(call) {
    await this.#begin(async () => {
      this.#know(call);
      this.onChange();
      await this.#open();
      if (this.isOver) return;
      const answered = await this.api.post('/call/answer', { callID: this.id }).catch((error) => {
        throw error.status === 400 || error.status === 404 ? Object.assign(error, { kind: 'answered' }) : error;
      });
      if (this.isOver) return;
      this.update(answered.call);
      await this.media.attach(this.id);
    });
  }

  /** Takes up a call that went on without this page. */
  async rejoin(call) {
    await this.#begin(async () => {
      this.#know(call);
      this.update(call);
      await this.#open();
      if (!this.isOver) await this.media.attach(this.id);
    });
  }

  #know(call) {
    this.id = call.callID;
    this.direction = call.direction;
  }

  async #begin(steps) {
    try {
      await steps();
    } catch (error) {
      if (error.status === 404 && this.id) return this.#askWhy(error);
      // a call that was refused at the door is over already; any other must not go on without sound
      if (this.id && !this.isOver && error.kind !== 'answered') this.api.leave(this.id);
      this.#end({ error });
    }
  }

  /** It was over before its media came: the API knows the reason for a while. */
  async #askWhy(error) {
    const { call } = await this.api.get(`/call/status?callID=${this.id}`).catch(() => ({}));
    if (call?.state === 'ended') this.update(call);
    else this.#end({ error });
  }

  async #open() {
    const stream = await microphone();
    const onFailed = (error) => this.#mediaFailed(error);
    this.media = new Media({ api: this.api, stream, element: this.element, onFailed });
    if (this.isOver) this.media.close();
  }

  #mediaFailed(error) {
    this.api.leave(this.id);
    this.#end({ error });
  }

  /** What the API says of this call. */
  update(call) {
    if (this.isOver) return;
    this.state = call.state;
    this.direction = call.direction;
    if (call.answeredAt && !this.since) this.since = Date.now();
    if (call.state === 'ended') this.#end({ call });
    else this.onChange();
  }

  async hangUp() {
    if (this.isOver) return;
    const ended = { endReason: this.since ? 'user_ended' : 'cancelled', direction: this.direction, answeredAt: this.since };
    if (this.id) this.api.leave(this.id);
    this.#end({ call: ended });
  }

  async hold(isHeld) {
    const { call } = await this.api.post(isHeld ? '/call/hold' : '/call/resume', { callID: this.id });
    this.update(call);
  }

  mute(isMuted) {
    this.media?.mute(isMuted);
    this.onChange();
  }

  press(digit) {
    return this.api.post('/call/dtmf', { callID: this.id, digits: digit });
  }

  get isMuted() {
    return this.media?.isMuted ?? false;
  }

  #end(how) {
    if (this.isOver) return;
    this.isOver = true;
    this.state = 'ended';
    this.media?.close();
    this.onEnd(how);
  }
}
