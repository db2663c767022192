// A telephone that speaks SIP and RTP by itself: takes every call, makes one, sends a tone, holds and resumes when told to.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { sleep, until } from './process.mjs';

const RATE = 8_000;
const FRAME = 160;

/** µ-law of a sample of 16 bits (ITU-T G.711). */
function ulaw(sample) {
  const sign = sample < 0 ? 0x80 : 0;
  const magnitude = Math.min(Math.abs(sample), 32_635) + 132;
  const exponent = 24 - Math.clz32(magnitude); // 132 and more: bit 7 at least
  return ~(sign | (exponent << 4) | ((magnitude >> (exponent + 3)) & 0x0f)) & 0xff;
}

const header = (text, name) => text.match(new RegExp(`^${name}: *(.*?)\\r$`, 'im'))?.[1];

export class Phone {
  static async start({ bind = '127.0.0.1', hertz }) {
    const self = new Phone();
    Object.assign(self, { bind, hertz, talks: true, direction: 'sendrecv', connection: bind, version: 0, cseq: 0, messages: '' });
    for (const kind of ['sip', 'rtp']) {
      self[kind] = createSocket('udp4');
      self[kind].bind(0, bind);
      await once(self[kind], 'listening');
    }
    self.address = `${bind}:${self.sip.address().port}`;
    self.sip.on('message', (bytes, from) => self.handle(bytes.toString('latin1'), from));
    self.timer = setInterval(() => self.speak(), 10);
    return self;
  }

  stop() {
    clearInterval(this.timer);
    this.sip.close();
    this.rtp.close();
  }

  handle(text, from) {
    this.messages += text;
    if (text.startsWith('SIP/2.0')) {
      const placed = /INVITE/.test(header(text, 'CSeq')) && this.placed.get(header(text, 'Call-ID'));
      return placed ? this.hears(placed, text) : this.answers?.(text);
    }
    const method = text.slice(0, text.indexOf(' '));
    if (method === 'ACK') return;
    if (method === 'INVITE' && !this.dialog) {
      this.dialog = { id: header(text, 'Call-ID'), us: `${header(text, 'To')};tag=phone`, them: header(text, 'From') };
      this.started = null;
    }
    if (method === 'BYE') {
      this.fars.delete(header(text, 'Call-ID'));
      if (header(text, 'Call-ID') === this.dialog?.id) this.dialog = null;
    }
    if (method === 'INVITE') this.reads(text);
    const to = header(text, 'To');
    const fields = ['Via', 'From', 'Call-ID', 'CSeq'].map((name) => `${name}: ${header(text, name)}`);
    this.say(['SIP/2.0 200 OK', ...fields, `To: ${/;tag=/.test(to) ? to : `${to};tag=phone`}`], method === 'INVITE', from);
  }

  /** Calls somebody and has that call at hand; returns once it rings there. What comes of it is its `status`. */
  async places(to, from) {
    const id = `placed-${this.placed.size}@${this.address}`;
    const dialog = { id, us: `<sip:${from}@${this.address}>;tag=phone`, them: `<${to}>`, target: to };
    this.placed.set(id, dialog);
    this.dialog = dialog;
    this.asks('INVITE');
    await until(`${to} rings`, () => dialog.status >= 180, 5_000, 10);
    if (dialog.status !== 180) throw new Error(`${to} answers ${dialog.status}`);
    return dialog;
  }

  /** An answer to an INVITE that placed a call. */
  hears(dialog, text) {
    dialog.status = Number(text.split(' ')[1]);
    if (dialog.status > 100) dialog.them = header(text, 'To');
    const contact = header(text, 'Contact');
    if (contact) dialog.target = contact.match(/<(.*?)>/)[1];
    if (dialog.status < 200) return;
    const [address, port] = [dialog.first.address, dialog.first.port];
    const lines = dialog.first.lines.map((line) => line.replace(/^To: .*/, `To: ${dialog.them}`).replace(/^INVITE|(?<=^CSeq: \d+ )INVITE/, 'ACK'));
    this.say(lines, false, { address, port });
  }

  /** Where the far side is, by a message of its own with a description. */
  reads(text) {
    this.dialog.target = header(text, 'Contact').match(/<(.*?)>/)[1];
    const [, ip] = text.match(/^c=IN IP4 (\S+)/m);
    this.fars.set(this.dialog.id, { ip, port: Number(text.match(/^m=audio (\d+)/m)[1]) });
  }

  say(lines, withBody, { address, port }) {
    const body = withBody ? this.description() : '';
    const type = withBody ? ['Content-Type: application/sdp'] : [];
    const head = [...lines, `Contact: <sip:phone@${this.address}>`, ...type, `Content-Length: ${body.length}`];
    this.sip.send(`${head.join('\r\n')}\r\n\r\n${body}`, port, address);
  }

  description() {
    this.version++;
    return [
      'v=0', `o=- 1 ${this.version} IN IP4 ${this.bind}`, 's=-', `c=IN IP4 ${this.connection}`, 't=0 0',
      `m=audio ${this.rtp.address().port} RTP/AVP 0`, 'a=ptime:20', `a=${this.direction}`, '',
    ].join('\r\n');
  }

  /** Offers within the call; what the answer says of its direction. */
  async offers({ direction = 'sendrecv', connection = this.bind } = {}) {
    Object.assign(this, { direction, connection });
    for (;;) {
      const answer = await this.request('INVITE');
      const status = Number(answer.split(' ')[1]);
      this.request('ACK');
      if (status === 200) return answer.match(/^a=(sendrecv|sendonly|recvonly|inactive)/m)?.[1] ?? 'sendrecv';
      if (status !== 491) throw new Error(`an offer of the telephone got ${answer}`);
      await sleep(2_100); // they offered too (RFC 3261 §14.1)
    }
  }

  /** Puts the call aside, its tone goes on: the next one is another. */
  parks() {
    this.dialog = null;
  }

  /** Goes on with a call that it put aside. */
  takes(dialog) {
    this.dialog = dialog;
  }

  /** Asks the far side to call somebody else (RFC 3515), in the place of a dialog of ours where one is given; its answer. */
  async refers(to, dialog = null) {
    const tag = (address) => address.match(/;tag=([^;]*)/)[1];
    const replaces = dialog && encodeURIComponent(`${dialog.id};to-tag=${tag(dialog.them)};from-tag=${tag(dialog.us)}`);
    const answer = await this.request('REFER', [`Refer-To: <${to}${dialog ? `?Replaces=${replaces}` : ''}>`]);
    return Number(answer.split(' ')[1]);
  }

  /** Hangs up the call at hand. */
  async hangsUp() {
    await this.request('BYE');
    this.fars.delete(this.dialog.id);
    this.dialog = null;
  }

  async request(method, more = []) {
    const answered = this.asks(method, more);
    return method === 'ACK' ? null : until(`an answer to the telephone's ${method}`, answered, 5_000, 10);
  }

  /** Sends a request within the call at hand; gives what looks for its final answer. */
  asks(method, more = []) {
    if (method !== 'ACK') this.cseq++;
    const { id, us, them, target } = this.dialog;
    const [, address, port = 5060] = target.match(/@?([\d.]+)(?::(\d+))?(?:;|$)/);
    const lines = [
      `${method} ${target} SIP/2.0`, `Via: SIP/2.0/UDP ${this.address};branch=z9hG4bK${this.sip.address().port}${method}${this.cseq}${this.version}`, 'Max-Forwards: 70',
      `From: ${us}`, `To: ${them}`, `Call-ID: ${id}`, `CSeq: ${this.cseq} ${method}`, ...more,
    ];
    if (method === 'INVITE') this.dialog.first ??= { lines, address, port: Number(port) };
    let answer = null;
    this.answers = (text) => {
      if (Number(text.split(' ')[1]) >= 200 && header(text, 'CSeq') === `${this.cseq} ${method}`) answer = text;
    };
    this.say(lines, method === 'INVITE', { address, port: Number(port) });
    return () => answer;
  }

  /** Sends the packets that are due. */
  speak() {
    if (!this.fars.size || !this.talks) return;
    this.started ??= { at: performance.now() - this.frames * 20 };
    for (; this.frames * 20 < performance.now() - this.started.at; this.frames++) {
      const packet = Buffer.alloc(12 + FRAME);
      packet[0] = 0x80;
      packet.writeUInt16BE(this.frames & 0xffff, 2);
      packet.writeUInt32BE(this.frames * FRAME, 4);
      packet.writeUInt32BE(0x70686f6e, 8);
      for (let i = 0; i < FRAME; i++) {
        packet[12 + i] = ulaw(8_000 * Math.sin((2 * Math.PI * this.hertz * (this.frames * FRAME + i)) / RATE));
      }
      for (const { port, ip } of this.fars.values()) this.rtp.send(packet, port, ip);
    }
  }

  frames = 0;
  /** The calls that it has made, by their Call-ID. */
  placed = new Map();
  /** Where the far side of each call wants its packets. */
  fars = new Map();

  /** Sends nothing any more, or goes on. */
  talk(talks) {
    this.talks = talks;
    this.started = null;
  }
}
