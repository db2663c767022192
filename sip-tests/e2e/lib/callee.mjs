// A telephone behind a proxy that forks, as sipedge sees it: early media is of one dialog and codec, the answer of another.
import { createSocket } from 'node:dgram';

const NAMES = { 0: 'PCMU', 8: 'PCMA' };

export class Callee {
  /** `early` and `answer` are payload types; what it says is `letter`, over and over. */
  constructor({ early, answer, letter }) {
    Object.assign(this, { early, answer, letter, heard: [], invites: [] });
    this.sip = createSocket('udp4').on('message', (bytes, from) => this.hear(String(bytes), from));
    this.rtp = createSocket('udp4').on('message', (bytes) => this.heard.push({ type: bytes[1] & 127, payload: bytes.subarray(12) }));
    this.sequence = 0;
  }

  async start() {
    for (const socket of [this.sip, this.rtp]) await new Promise((done) => socket.bind(0, '127.0.0.1', done));
    this.port = this.sip.address().port;
    return this;
  }

  hear(text, from) {
    const [first] = text.split('\r\n');
    if (first.startsWith('ACK')) return;
    if (!first.startsWith('INVITE')) return this.reply(text, from, '200 OK');
    this.invites.push(text);
    if (this.invites.length > 1) return this.reply(text, from, '200 OK', this.answer); // it comes again, or offers anew
    this.far = Number(text.match(/m=audio (\d+)/)[1]);
    this.reply(text, from, '183 Session Progress', this.early);
    this.type = this.early;
    this.talking = setInterval(() => this.say(), 20);
    setTimeout(() => {
      this.type = this.answer;
      this.reply(text, from, '200 OK', this.answer);
    }, 600);
  }

  reply(text, from, status, type) {
    const lines = (name) => text.split('\r\n').filter((l) => l.toLowerCase().startsWith(`${name}:`));
    const to = lines('to')[0] + (/;tag=/.test(lines('to')[0]) ? '' : `;tag=of-${type}`);
    const body = type === undefined ? '' : ['v=0', 'o=- 1 1 IN IP4 127.0.0.1', 's=-', 'c=IN IP4 127.0.0.1', 't=0 0',
      `m=audio ${this.rtp.address().port} RTP/AVP ${type}`, `a=rtpmap:${type} ${NAMES[type]}/8000`, ''].join('\r\n');
    const head = [`SIP/2.0 ${status}`, ...lines('via'), ...lines('from'), to, ...lines('call-id'), ...lines('cseq'),
      `Contact: <sip:callee@127.0.0.1:${this.port}>`, ...(body ? ['Content-Type: application/sdp'] : []), `Content-Length: ${body.length}`, '', ''];
    this.sip.send(head.join('\r\n') + body, from.port, from.address);
  }

  say() {
    const packet = Buffer.alloc(172, this.letter);
    packet.writeUInt8(0x80, 0);
    packet.writeUInt8(this.type, 1);
    packet.writeUInt16BE(this.sequence, 2);
    packet.writeUInt32BE(this.sequence * 160, 4);
    packet.writeUInt32BE(7 + this.type, 8);
    this.sequence++;
    this.rtp.send(packet, this.far, '127.0.0.1');
  }

  stop() {
    clearInterval(this.talking);
    this.sip.close();
    this.rtp.close();
  }
}
