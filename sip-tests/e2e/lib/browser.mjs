// A headless Chromium with a fake microphone, and the page that runs the WaGo program.
import { fileURLToPath } from 'node:url';
import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { until } from './process.mjs';
import { chromium } from 'playwright-core';

const pages = fileURLToPath(new URL('../page', import.meta.url));

/** A Chromium on this machine: $CHROMIUM, Debian's, or the npm package's. */
export async function executable() {
  if (process.env.CHROMIUM) return { path: process.env.CHROMIUM, args: [] };
  for (const name of ['chromium', 'chromium-browser', 'google-chrome']) {
    try {
      return { path: execFileSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).trim(), args: [] };
    } catch { /* not that one */ }
  }
  const { default: packaged } = await import('@sparticuz/chromium');
  return { path: await packaged.executablePath(), args: ['--no-zygote'] };
}

/** What every browser is given: the page that runs the program, from an origin of its own. */
export class Pages {
  async serve({ program, bind }) {
    const files = { '/': ['page.html', 'text/html'], '/signal.mjs': ['../lib/signal.mjs', 'text/javascript'], '/page.mjs': ['page.mjs', 'text/javascript'] };
    this.server = createServer((request, response) => {
      if (request.url === '/program.js') {
        response.writeHead(200, { 'content-type': 'text/javascript' }).end(program);
        return;
      }
      const file = files[request.url];
      if (!file) return response.writeHead(404).end();
      response.writeHead(200, { 'content-type': file[1] }).end(readFileSync(path.join(pages, file[0])));
    });
    await new Promise((done) => this.server.listen(0, bind, done));
    this.host = bind.includes(':') ? `[${bind}]` : bind;
    this.origin = `http://${this.host}:${this.server.address().port}`;
  }

  /** Runs the program for a call and waits until its peer connection is connected. */
  async attach(page, { api, token, callID, connect = true }) {
    await page.evaluate((options) => window.runProgram(options), { api, token, callID });
    if (connect) {
      try {
        await page.waitForFunction(() => window.connection()?.connectionState === 'connected', null, { timeout: 10_000 });
      } catch (error) {
        const state = await page.evaluate(() => [window.connection()?.connectionState, window.connection()?.iceConnectionState]);
        throw new Error(`the browser is not connected (${state}): ${page.problems.join('; ') || error.message}`);
      }
    }
  }

  stop() {
    return new Promise((done) => this.server.close(done));
  }
}

export class Browser extends Pages {
  /** `microphone` is a WAV file; `program` the text of the WaGo program. */
  static async start({ microphone, program, bind = '127.0.0.1', features = [] }) {
    const self = new Browser();
    await self.serve({ program, bind });
    const found = await executable();
    self.browser = await chromium.launch({
      executablePath: found.path,
      headless: true,
      args: [
        ...found.args, '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
        '--disable-component-update', '--disable-sync', '--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream',
        `--use-file-for-fake-audio-capture=${microphone}`, '--autoplay-policy=no-user-gesture-required',
        '--allow-loopback-in-peer-connection', `--disable-features=${['WebRtcHideLocalIpsWithMdns', ...features].join(',')}`,
        ...(self.host === '127.0.0.1' ? [] : [`--unsafely-treat-insecure-origin-as-secure=${self.origin}`]),
      ],
    });
    self.context = await self.browser.newContext();
    await self.context.grantPermissions(['microphone'], { origin: self.origin });
    self.version = self.browser.version();
    return self;
  }

  /** The call page of a server, for whose token this client has, ready to call. */
  async callPage({ base, token }) {
    const { origin } = new URL(base);
    await this.context.grantPermissions(['microphone'], { origin });
    const page = await this.context.newPage();
    await page.goto(`${origin}/#token=${token}`);
    await until('the page is ready', async () => /Ready/.test(await page.locator('#link-text').textContent()));
    return page;
  }

  /** A page that may run the program once. */
  async page() {
    const page = await this.context.newPage();
    page.problems = [];
    page.on('pageerror', (error) => page.problems.push(String(error)));
    page.on('console', (message) => message.type() === 'error' && page.problems.push(message.text()));
    await page.goto(this.origin + '/');
    await page.waitForFunction(() => window.ready);
    return page;
  }

  async stop() {
    await this.browser?.close();
    await super.stop();
  }
}
