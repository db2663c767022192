// The demo as a user starts it, without a configuration; and a browser with a fake microphone and nothing else special.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { chromium } from 'playwright-core';
import { executable } from './browser.mjs';
import { Child } from './process.mjs';
import { loudest, rmsDb, strongest } from './signal.mjs';

export class Demo {
  /** Ports and a token of our own come by the environment, so that tests meet nobody and find the page again. */
  constructor({ binary, http, token, args = [], env = {} }) {
    const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('SIPEDGE_')));
    this.env = {
      ...inherited, RUST_BACKTRACE: '1', SIPEDGE_SIP__LISTEN: `127.0.0.1:${http + 1}`, SIPEDGE_MEDIA__WEBRTC_PORT: String(http + 2),
      ...(http && { SIPEDGE_HTTP__LISTEN: `127.0.0.1:${http}` }), ...(token && { SIPEDGE_ACCOUNT__DEMO__TOKEN: token }), ...env,
    };
    Object.assign(this, { binary, args });
  }

  async start() {
    const begin = Date.now();
    this.child = new Child(this.binary, this.args, { env: this.env, name: 'demo' });
    await this.child.says('Press Ctrl-C to end it');
    this.startedIn = Date.now() - begin;
    this.url = this.child.output.match(/http:\/\/\S+/)[0];
    return this;
  }

  stop() {
    return this.child.stop('SIGINT');
  }
}

/** Whether the demo would find a configuration on this machine, and so be none. */
export const isConfigured = () => existsSync('/etc/sipedge/sipedge.toml');

export class PlainBrowser {
  static async start({ microphone, args = [] }) {
    const self = new PlainBrowser();
    const found = await executable();
    self.browser = await chromium.launch({
      executablePath: found.path, headless: true,
      args: [...found.args, ...args, '--no-sandbox', '--disable-gpu', '--use-fake-device-for-media-stream', `--use-file-for-fake-audio-capture=${microphone}`],
    });
    self.version = self.browser.version();
    return self;
  }

  /** A person at the page; `hears` is off what would spoil a measurement (echo cancelling, gain). */
  async person({ url, out, allowed = true, plain = true, ...options }) {
    const origin = new URL(url).origin;
    const context = await this.browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
    if (allowed) await context.grantPermissions(['microphone'], { origin });
    if (plain) {
      await context.addInitScript(() => {
        const native = navigator.mediaDevices?.getUserMedia.bind(navigator.mediaDevices);
        if (native) navigator.mediaDevices.getUserMedia = () => native({ audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false } });
      });
    }
    const page = await context.newPage();
    page.problems = [];
    page.on('pageerror', (error) => page.problems.push(String(error)));
    page.on('console', (m) => m.type() === 'error' && !/status of 40[0-9]|ERR_/.test(m.text()) && page.problems.push(m.text()));
    page.out = out;
    page.shot = (name) => page.screenshot({ path: path.join(out, `page-${name}.png`) });
    await page.goto(url);
    return page;
  }

  stop() {
    return this.browser.close();
  }
}

/** Samples of what the page plays, over the next `seconds`. */
export async function listen(page, seconds) {
  await page.waitForFunction(() => document.querySelector('audio').srcObject, null, { timeout: 10_000 });
  const { rate, samples } = await page.evaluate(async (length) => {
    const audio = new AudioContext();
    const source = audio.createMediaStreamSource(document.querySelector('audio').srcObject);
    const node = audio.createScriptProcessor(4096, 1, 1);
    const kept = [];
    node.onaudioprocess = (event) => kept.push(...event.inputBuffer.getChannelData(0));
    source.connect(node);
    node.connect(audio.destination);
    await audio.resume();
    while (kept.length < length * audio.sampleRate) await new Promise((done) => setTimeout(done, 50));
    const { sampleRate } = audio;
    audio.close();
    return { rate: sampleRate, samples: kept.map((s) => Math.round(s * 32768)) };
  }, seconds);
  return { rate, samples: Float32Array.from(samples, (s) => s / 32768) };
}

const BURST = 0.4;
/**
 * What the page plays: strongest frequency, its purity, level, all of the loudest stretch of the length of a burst of the microphone.
 * Up to three windows of `seconds`: a busy machine stretches a tone now and then.
 */
export async function hear(page, seconds = 1) {
  let best = { purity: -1 };
  for (let i = 0; i < 3 && best.purity < 0.97; i++) {
    const { rate, samples } = await listen(page, seconds);
    const burst = loudest(samples, rate, BURST);
    const heard = { ...strongest(burst, rate), level: rmsDb(burst) };
    if (heard.purity > best.purity) best = heard;
  }
  return best;
}
