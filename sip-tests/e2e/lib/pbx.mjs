// The real Asterisk of the tests, by the recipe in ../../pbx.
import { fileURLToPath } from 'node:url';
import { readFileSync, readdirSync, existsSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { bursts } from './signal.mjs';
import { writeWav } from './wav.mjs';
import { Child, run, until } from './process.mjs';

/** The music on hold that endpoint `holder` suggests: a tone. */
export const MUSIC_HERTZ = 523;

/** The shipped configuration for an Asterisk. */
export const examples = fileURLToPath(new URL('../../../config/asterisk', import.meta.url));
const recipe = fileURLToPath(new URL('../../pbx', import.meta.url));

export class Pbx {
  /** `ports` is the first of ten ports that this PBX may use; `also` a folder of what it is configured with besides. */
  constructor({ home, name, bind = '127.0.0.1', ports, identify = 'ip,username,anonymous', peer = 5080, also = examples, verify = 'no' }) {
    this.bind = bind;
    this.sipPort = ports;
    this.run = path.join(home, `run-${name}`);
    this.args = ['--tree', path.join(home, 'asterisk'), '--run', this.run];
    const bracketed = bind.includes(':') ? `[${bind}]` : bind;
    this.host = bracketed;
    this.env = {
      ...process.env, PBX_BIND: bind, PBX_SIP_PORT: ports, PBX_TLS_PORT: ports + 1, PBX_HTTP_PORT: ports + 2,
      PBX_HTTPS_PORT: ports + 3, PBX_AMI_PORT: ports + 4, PBX_RTP_FIRST: 10000, PBX_RTP_LAST: 11999,
      PBX_ALSO: also, PBX_PEER_HOST: bracketed, PBX_PEER_PORT: peer, PBX_IDENTIFY: identify, PBX_TLS_VERIFY: verify,
    };
  }

  async start() {
    const music = path.join(this.run, 'moh-tone');
    mkdirSync(music, { recursive: true });
    writeWav(path.join(music, 'tone.wav'), bursts(8_000, 30, MUSIC_HERTZ, 0.25, 30, 0), 8_000);
    this.child = new Child(path.join(recipe, 'run-asterisk.sh'), this.args, { env: this.env, name: 'asterisk' });
    await Promise.race([
      run(path.join(recipe, 'run-asterisk.sh'), [...this.args, '--wait', '30'], { env: this.env }),
      this.child.exited.then(() => { throw new Error(`Asterisk did not start:\n${this.child.output}`); }),
    ]);
    await this.console('pjsip set logger on');
    return this;
  }

  async stop() {
    if (!this.child || this.child.exit) return;
    await run(path.join(recipe, 'run-asterisk.sh'), [...this.args, '--stop'], { env: this.env, mayFail: true });
    await this.child.stop();
  }

  console(command) {
    return run(path.join(recipe, 'run-asterisk.sh'), [...this.args, '--exec', command], { env: this.env });
  }

  /**
   * Waits until the PBX can call an endpoint with a static contact. One that asked before its transports were up thinks for
   * half a minute that nobody is there, unless it is told to ask again.
   */
  reaches(endpoint) {
    return until(`the PBX reaches ${endpoint}`, async () => {
      if (!new RegExp(`${endpoint}/sip:.*Unavail`).test(await this.console('pjsip show contacts'))) return true;
      await this.console(`pjsip qualify ${endpoint}`);
      return false;
    });
  }

  /** Calls a number of the dialplan's context `trunk`; who answers hears extension `service`. */
  async calls(number, service = '602') {
    await this.console(`channel originate Local/${number}@trunk/n extension ${service}@services`);
  }

  /** Hangs up whatever talks or rings. */
  async hangsUp() {
    await this.console('channel request hangup all');
  }

  log() {
    const file = path.join(this.run, 'log/full');
    return existsSync(file) ? readFileSync(file, 'utf8') : '';
  }

  /** Marks the present end of the log; the function returned gives what came after. */
  mark() {
    const at = this.log().length;
    return () => this.log().slice(at);
  }

  /** The figures that an answered call left in the log when it ended; one that only rang before may leave its line after the mark. */
  async callEnd(since) {
    const line = await until('a call-end line in the log', () => since().match(/app_verbose\.c: .*?(call-end .* secure=.*)\n/)?.[1]);
    return Object.fromEntries(line.split(' ').filter((p) => p.includes('=')).map((p) => p.split(/=(.*)/).slice(0, 2)));
  }

  recordings() {
    const spool = path.join(this.run, 'spool');
    return readdirSync(spool).filter((f) => f.startsWith('rec-')).map((f) => path.join(spool, f));
  }
}
