// The call page on every screen: phones on their side, long names, large text, names that turn the text around them, and no
// scripts at all.
import { Demo, PlainBrowser, isConfigured } from '../lib/demo.mjs';
import { comer, focus, isShown, says, talks, text } from '../lib/person.mjs';
import { Api } from '../lib/sipedge.mjs';

export const name = 'the call page, on every screen';
export const alone = true;

const HTTP = 21460;
const BASE = `http://127.0.0.1:${HTTP}`;
const TOKEN = 'page-token-0123456789';
const BERT = 'bert-token-0123456789';
const LONG = 'Donaudampfschifffahrtsgesellschaft '.repeat(4).slice(0, 128);

const bert = new Api(BASE, BERT);

export async function run(ctx) {
  const { report, binary, out, microphone, started } = ctx;
  if (!report.check('no configuration of this machine is in the way', !isConfigured())) return;
  const env = { SIPEDGE_ACCOUNT__BERT__TOKEN: BERT, SIPEDGE_ACCOUNT__BERT__NUMBERS: '102' };
  const demo = started(await new Demo({ binary, http: HTTP, token: TOKEN, env }).start());
  const browser = await PlainBrowser.start({ microphone });
  started({ stop: () => browser.stop() });
  const person = comer({ browser, demo, out });
  for (const part of [screens, largeText, direction, withoutScripts]) await part({ ...ctx, demo, browser, person });
}

/** Those of these elements that are not wholly on the screen. */
const off = (page, ...ids) => page.evaluate((all) => all.filter((id) => {
  const { top, bottom, left, right } = document.getElementById(id).getBoundingClientRect();
  return top < 0 || left < 0 || bottom > innerHeight || right > innerWidth || bottom === top;
}), ids);

async function screens({ report, person }) {
  console.log('  -- what answers and ends a call is on the screen');
  for (const [width, height] of [[844, 340], [740, 290], [640, 360], [360, 640], [320, 568]]) {
    for (const displayName of ['Bert', LONG]) {
      const page = await person({ viewport: { width, height }, isMobile: true, hasTouch: true });
      const missing = [];
      const look = async (state, ...ids) => {
        for (const id of await off(page, ...ids)) missing.push(`${state}: ${id}`);
        await page.shot(`${width}x${height}-${displayName.length > 9 ? 'long' : 'short'}-${state}`);
      };
      const id = await bert.make('100', { displayName });
      await isShown(page, 'ringing');
      await look('ringing', 'decline', 'answer');
      await page.tap('#answer');
      await talks(page);
      await look('talking', 'hang-up', 'mute', 'hold', 'keys');
      await page.tap('#keys');
      await look('keys', 'hang-up', 'talk-pad');
      const covered = await page.locator('#mute').evaluate((b) => b.getBoundingClientRect().bottom > document.getElementById('hang-up').getBoundingClientRect().top && innerHeight > innerWidth);
      if (covered) missing.push('keys: mute, under “Hang up”');
      const second = await bert.make('100', { displayName: 'Maria do Carmo Albuquerque' });
      await isShown(page, 'waiting');
      await look('waiting', 'hang-up', 'waiting-answer', 'waiting-decline');
      await bert.hangup(second);
      await page.tap('#keys');
      if (displayName === LONG) {
        await page.tap('#talking-who');
        const isWhole = await page.locator('#talking-who').evaluate((who) => who.scrollHeight <= who.clientHeight + 1);
        report.check('a long name is cut short, and shown whole when it is touched', isWhole && (await text(page, 'talking-who')) === LONG.trim());
      }
      report.equal(`${width}x${height}, a name of ${displayName.length}: what is off the screen`, missing.join('; '), '');
      await bert.hangup(id);
      await page.context().close();
    }
  }
}

/** WCAG 1.4.4 and 1.4.10: text of twice the size, and no scrolling sideways. */
async function largeText({ report, person }) {
  console.log('  -- text of twice the size');
  for (const width of [360, 320]) {
    const page = await person({ viewport: { width, height: 640 } });
    await page.evaluate(() => document.documentElement.style.setProperty('font-size', '32px'));
    const wide = [];
    const look = async (state) => {
      const is = await page.evaluate(() => document.documentElement.scrollWidth);
      if (is > width) wide.push(`${state} ${is}`);
      await page.shot(`large-${width}-${state}`);
    };
    await look('idle');
    await page.click('#pad-toggle');
    await look('keypad');
    const id = await bert.make('100', { displayName: 'Maria do Carmo Albuquerque' });
    await isShown(page, 'ringing');
    await look('ringing');
    await page.click('#answer');
    await talks(page);
    await look('talking');
    await page.click('#keys');
    await look('keys');
    const second = await bert.make('100');
    await isShown(page, 'waiting');
    await look('waiting');
    await bert.hangup(second);
    await bert.hangup(id);
    await isShown(page, 'idle');
    report.equal(`${width} wide: what is wider`, wide.join('; '), '');
    await page.context().close();
  }
}

async function direction({ report, person }) {
  console.log('  -- a name turns no text around it');
  const page = await person();
  const id = await bert.make('100', { displayName: 'Bank\u202egpj\u2069\u200e' });
  await isShown(page, 'ringing');
  report.equal('what turns it does not come from the server', await text(page, 'ringing-who'), 'Bankgpj');
  await bert.hangup(id);
  await says(page, 'status', /^Missed call from Bankgpj\.$/);
  report.equal('and the name stands apart in a sentence', await page.locator('#status bdi').textContent(), 'Bankgpj');
  report.equal('the focus is not lost', await focus(page), 'number');
  await page.context().close();
}

async function withoutScripts({ report, browser, demo, out }) {
  console.log('  -- without scripts');
  const context = await browser.browser.newContext({ javaScriptEnabled: false, viewport: { width: 390, height: 844 } });
  const page = await context.newPage();
  await page.goto(demo.url);
  await page.screenshot({ path: `${out}/page-no-scripts.png` });
  const shown = (await page.locator('body').innerText()).split('\n').map((line) => line.trim()).filter(Boolean);
  report.equal('it says so, and nothing else', shown.join(' | '), 'sipedge | This page needs JavaScript.');
  await context.close();
}
