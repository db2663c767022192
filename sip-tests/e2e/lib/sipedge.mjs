// The program under test, as a user starts it: a configuration file and a command line.
import { writeFileSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { Child, until } from './process.mjs';

export class Sipedge {
  /** `config` is the text of a configuration, or `file` names one. */
  constructor({ binary, out, name, config, file, env = {} }) {
    mkdirSync(out, { recursive: true });
    this.file = file ?? path.join(out, `${name}.toml`);
    if (!file) writeFileSync(this.file, config);
    this.binary = binary;
    this.env = { ...process.env, RUST_BACKTRACE: '1', ...env };
    this.name = name;
  }

  async start() {
    this.child = new Child(this.binary, ['--config', this.file], { env: this.env, name: `sipedge (${this.name})` });
    await this.child.says('sipedge is ready');
    return this;
  }

  get output() {
    return this.child.output;
  }

  async stop() {
    const exit = await this.child.stop();
    if (exit.code !== 0) throw new Error(`sipedge (${this.name}) ended with ${JSON.stringify(exit)}:\n${this.output.slice(-4000)}`);
    if (/panicked at/.test(this.output)) throw new Error(`sipedge (${this.name}) panicked:\n${this.output}`);
  }
}

/** A configuration for tests: everything on loopback, one trunk `pbx`, one account `anna`. */
export function configuration({
  http, sip, webrtc, rtp, bind = '127.0.0.1', host, origin, codecs = ['PCMU'], media = '', from = '', user = 'trunk-in', password = 'trunk-in-pw',
  profiles, envelope, timeout = '30s', inbound = 'inbound_user = "pbx"\ninbound_password = "pbx-pw"', routes = '', extra = '',
}) {
  const bracketed = bind.includes(':') ? `[${bind}]` : bind;
  return `
[http]
listen = "${bracketed}:${http}"
origins = ["${origin}"]

[sip]
listen = ["${bracketed}:${sip}"]

[media]
webrtc_port = ${webrtc}
addresses = ["${bind}"]
rtp_ports = "${rtp}-${rtp + 399}"
timeout = "${timeout}"

[ice]
loopback = true
${profiles ? `\n[srtp]\nprofiles = ${JSON.stringify(profiles)}\n` : ''}${envelope ? `\n[wago]\nenvelope = "${envelope}"\n` : ''}
[trunk.pbx]
host = "${host}"
user = "${user}"
password = "${password}"
codecs = ${JSON.stringify(codecs)}
${media}
${inbound}

[account.anna]
token = "anna-token-0123456789"
numbers = ["1001"]

[account.bert]
token = "bert-token-0123456789"
numbers = ["1002"]
${routes}
[[route]]
${from}to = "trunk.pbx"
${extra}`;
}

/** The events of an account, as a program listens to them. */
export class Listener {
  constructor(client) {
    this.events = [];
    this.abort = new AbortController();
    this.opened = fetch(`${client.base}/call/events`, { headers: { token: client.token, accept: 'text/event-stream' }, signal: this.abort.signal })
      .then((response) => {
        if (response.status !== 200) throw new Error(`events: ${response.status}`);
        this.reading = this.read(response.body).catch(() => {}); // it ends when it is aborted
      });
  }

  async read(body) {
    let text = '';
    for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) {
        const data = text.slice(0, end).split('\n').filter((l) => l.startsWith('data:')).map((l) => l.slice(5).trim()).join('\n');
        if (data) this.events.push(JSON.parse(data));
      }
    }
  }

  /** The next event of that name, of that call where one is named; it is taken out. */
  async next(event, callID, ms = 10_000) {
    return until(`event ${event}`, () => {
      const at = this.events.findIndex((e) => e.event === event && (!callID || e.call.callID === callID));
      return at >= 0 && this.events.splice(at, 1)[0];
    }, ms, 20);
  }

  async stop() {
    this.abort.abort();
    await this.reading;
  }
}

/** The WaGo API as a program calls it. */
export class Api {
  constructor(base, token = 'anna-token-0123456789') {
    this.base = base;
    this.token = token;
  }

  async ask(method, route, body, headers = {}) {
    // a connection that was closed while this process looked for a tone is noticed before it is used again
    await new Promise((done) => setImmediate(done));
    const response = await fetch(this.base + route, {
      method,
      headers: { ...(this.token ? { token: this.token } : {}), 'content-type': 'application/json', ...headers },
      body: body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body),
    });
    const text = await response.text();
    let json;
    try { json = JSON.parse(text); } catch { json = undefined; }
    return { status: response.status, headers: response.headers, text, json };
  }

  async make(phone, more = {}) {
    const { status, json, text } = await this.ask('POST', '/call/make', { Phone: phone, ...more });
    if (status !== 200) throw new Error(`make: ${status} ${text}`);
    return (json.data ?? json).callID;
  }

  async status(callID) {
    const { status, json, text } = await this.ask('GET', `/call/status?callID=${callID}`);
    if (status !== 200) throw new Error(`status: ${status} ${text}`);
    return (json.data ?? json).call;
  }

  hangup(callID) {
    return this.ask('POST', '/call/hangup', { callID });
  }
}
