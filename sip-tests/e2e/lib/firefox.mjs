// A headless Firefox of Debian, which speaks a tone. Driven by Marionette: JSON by TCP, each message after its length.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Pages } from './browser.mjs';
import { Child, until } from './process.mjs';

/** What is missing for it on this machine. Playwright's own is no stock Firefox; and without a sound card it needs a sound server. */
export function missing() {
  return ['firefox-esr', 'pulseaudio'].filter((command) => {
    try {
      execFileSync('sh', ['-c', `command -v ${command}`]);
      return false;
    } catch {
      return true;
    }
  });
}

class Marionette {
  #waiting = new Map();
  #next = 1;
  #rest = Buffer.alloc(0);

  constructor(socket) {
    this.socket = socket;
    this.greeted = new Promise((done) => { this.greet = done; });
    socket.on('data', (bytes) => this.#take(bytes));
    socket.on('close', () => this.#waiting.forEach(([, fail]) => fail(new Error('Firefox has closed the connection'))));
  }

  static async to(port) {
    const attempt = () => new Promise((done) => {
      const socket = connect(port, '127.0.0.1', () => done(socket));
      socket.on('error', () => done(null));
    });
    const self = new Marionette(await until('Firefox listens', attempt, 60_000, 200));
    await self.greeted;
    return self;
  }

  #take(bytes) {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    for (;;) {
      const colon = this.#rest.indexOf(':');
      const end = colon + 1 + Number(this.#rest.subarray(0, Math.max(colon, 0)));
      if (colon < 0 || this.#rest.length < end) return;
      const message = JSON.parse(this.#rest.subarray(colon + 1, end));
      this.#rest = this.#rest.subarray(end);
      if (!Array.isArray(message)) {
        this.greet();
        continue;
      }
      const [, id, error, result] = message;
      const [done, fail] = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error) fail(new Error(`${error.error}: ${error.message}`));
      else done(result);
    }
  }

  command(name, parameters = {}) {
    const id = this.#next++;
    const text = JSON.stringify([0, id, name, parameters]);
    return new Promise((done, fail) => {
      this.#waiting.set(id, [done, fail]);
      this.socket.write(`${Buffer.byteLength(text)}:${text}`);
    });
  }
}

/** The one window, as far as a page of Playwright is asked for here. */
class Page {
  problems = [];

  constructor(marionette) {
    this.marionette = marionette;
  }

  goto(url) {
    return this.marionette.command('WebDriver:Navigate', { url });
  }

  async evaluate(what, argument = null) {
    const script = `const [argument, done] = arguments;
      (async () => (${what})(argument))().then((value) => done({ value: value ?? null }), (error) => done({ error: String(error) }));`;
    const { value } = await this.marionette.command('WebDriver:ExecuteAsyncScript', { script, args: [argument], newSandbox: false });
    if (value.error) throw new Error(value.error);
    return value.value;
  }

  waitForFunction(what, argument, { timeout = 10_000 } = {}) {
    return until(`${what}`, () => this.evaluate(`(argument) => Boolean((${what})(argument))`, argument), timeout);
  }

  async screenshot(file) {
    const { value } = await this.marionette.command('WebDriver:TakeScreenshot', { full: true });
    writeFileSync(file, Buffer.from(value, 'base64'));
  }

  close() {
    return this.goto('about:blank');
  }
}

export class Firefox extends Pages {
  /** `hertz` of the tone that it speaks; `port` for what drives it. */
  static async start({ program, hertz, port, bind = '127.0.0.1' }) {
    const self = new Firefox();
    await self.serve({ program, bind });
    self.profile = mkdtempSync(path.join(tmpdir(), 'sipedge-firefox-'));
    const preferences = {
      'marionette.port': port,
      'media.navigator.streams.fake': true,
      'media.navigator.permission.disabled': true,
      'media.navigator.audio.fake_frequency': hertz,
      'media.autoplay.default': 0,
      'media.autoplay.blocking_policy': 0,
      'media.getusermedia.audio.processing.platform.enabled': false,
      // it asks for much of its maker's at its start
      'app.normandy.enabled': false,
      'app.update.enabled': false,
      'datareporting.policy.dataSubmissionEnabled': false,
      'browser.shell.checkDefaultBrowser': false,
      'browser.safebrowsing.update.enabled': false,
      'services.settings.server': 'http://127.0.0.1:1/',
      'network.captive-portal-service.enabled': false,
      'network.connectivity-service.enabled': false,
    };
    const lines = Object.entries(preferences).map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`);
    writeFileSync(path.join(self.profile, 'user.js'), lines.join(''));
    const env = { ...process.env, HOME: self.profile, XDG_RUNTIME_DIR: self.profile };
    const socket = path.join(self.profile, 'sound.socket');
    self.sound = new Child('pulseaudio', [
      '-n', '--daemonize=no', '--exit-idle-time=-1', '--use-pid-file=no', '--log-target=stderr',
      '-L', 'module-null-sink rate=48000', '-L', `module-native-protocol-unix auth-anonymous=1 socket=${socket}`,
    ], { name: 'PulseAudio', env });
    await until('PulseAudio listens', () => existsSync(socket));
    const args = ['--headless', '--marionette', '--no-remote', '--profile', self.profile];
    self.child = new Child('firefox-esr', args, { name: 'Firefox', env: { ...env, PULSE_SERVER: `unix:${socket}` } });
    self.marionette = await Marionette.to(port);
    const { capabilities } = await self.marionette.command('WebDriver:NewSession', {});
    self.version = capabilities.browserVersion;
    await self.marionette.command('WebDriver:SetTimeouts', { script: 60_000 });
    return self;
  }

  /** A page that may run the program once; the one before it is gone. */
  async page(url = `${this.origin}/`) {
    const page = new Page(this.marionette);
    await page.goto(url);
    if (url.startsWith(this.origin)) await page.waitForFunction(() => window.ready);
    return page;
  }

  async stop() {
    await this.child?.stop();
    await this.sound?.stop();
    if (this.profile) rmSync(this.profile, { recursive: true, force: true });
    await super.stop();
  }
}
