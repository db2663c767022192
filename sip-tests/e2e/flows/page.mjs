// The demo and its call page, as a person meets them: a browser with a fake microphone and no flag for loopback.
import { Demo, PlainBrowser, hear, isConfigured, listen } from '../lib/demo.mjs';
import { dial, hangUp, isShown, says, talks, text } from '../lib/person.mjs';
import { Api } from '../lib/sipedge.mjs';
import { Child, run as command, until } from '../lib/process.mjs';
import { loudest, rmsDb, strongest } from '../lib/signal.mjs';
import path from 'node:path';
import { networkInterfaces } from 'node:os';

export const name = 'the demo and its call page';
export const alone = true;

const HTTP = 21380;
const TOKEN = 'page-token-0123456789';
const BERT = 'bert-token-0123456789';

export async function run(ctx) {
  const { report, binary, out, microphone, started } = ctx;
  if (!report.check('no configuration of this machine is in the way', !isConfigured())) return;
  const env = {
    SIPEDGE_ACCOUNT__BERT__TOKEN: BERT, SIPEDGE_ACCOUNT__BERT__NUMBERS: '102', SIPEDGE_ACCOUNT__BERT__CALLER_ID: '+551140001234',
    SIPEDGE_ACCOUNT__BERT__DISPLAY_NAME: 'Maria do Carmo Albuquerque',
  };
  const demo = await new Demo({ binary, http: HTTP, token: TOKEN, env }).start();
  const stop = started({ stop: () => demo.stop() }) && (() => demo.stop());
  report.check('the demo is up within a second', demo.startedIn < 1_000, `${demo.startedIn} ms`);
  report.equal('and names its page', demo.url, `http://127.0.0.1:${HTTP}/#token=${TOKEN}`);

  const second = new Child(binary, [], { env: { ...demo.env, SIPEDGE_SIP__LISTEN: `127.0.0.1:${HTTP + 3}`, SIPEDGE_MEDIA__WEBRTC_PORT: String(HTTP + 4) }, name: 'second demo' });
  await second.exited;
  report.check('a second one says what is taken and what to do', second.exit.code === 1 && /127\.0\.0\.1:21380 is taken.*SIPEDGE_HTTP__LISTEN=/s.test(second.output), second.output.trim());

  const browser = await PlainBrowser.start({ microphone });
  started({ stop: () => browser.stop() });
  const person = (options) => browser.person({ url: demo.url, out, ...options });

  await headers(ctx, demo);
  const page = await person();
  await says(page, 'link-text', /Ready/);
  report.equal('the token is gone from the address', page.url(), `http://127.0.0.1:${HTTP}/`);
  report.equal('five numbers are offered', await page.locator('#suggestion-list button').count(), 5);
  await page.shot('desktop-light-idle');

  await extensions(ctx, page);
  await inbound(ctx, page, person);
  await another(ctx, page);
  await keyboard(ctx, page);
  await controls(ctx, page);

  console.log('  -- what goes wrong is said in plain words');
  await dial(page, 'nowhere');
  await says(page, 'alert', /“nowhere” cannot be called: your account has no route to it\./);
  await dial(page, '100');
  await says(page, 'status', /The line is busy\./);
  report.check('no route, and a busy line', true);
  const denied = await person({ allowed: false });
  await says(denied, 'link-text', /Ready/);
  await dial(denied, '600');
  await says(denied, 'alert', /Your microphone is blocked\. Allow it for this page/);
  report.check('microphone denied', true, await text(denied, 'alert'));
  report.equal('and nobody was called', (await api('/call/list')).calls.length, 0);
  await denied.shot('desktop-light-denied');
  await denied.context().close();
  const stranger = await person({ url: `http://127.0.0.1:${HTTP}/#token=wrong-token-0123456789` });
  await says(stranger, 'alert', /That token is not known here/);
  await isShown(stranger, 'sign-in');
  await stranger.shot('desktop-light-wrong-token');
  await stranger.fill('#token', TOKEN);
  await stranger.keyboard.press('Enter');
  await says(stranger, 'link-text', /Ready/);
  report.check('a wrong token, then the right one', true);
  await stranger.context().close();

  await everywhere(ctx, person);

  console.log('  -- the server goes and comes back');
  await dial(page, '602');
  await talks(page);
  await stop();
  await says(page, 'link-text', /Reconnecting/);
  await isShown(page, 'idle');
  report.check('the call ends with the server', true, `${await text(page, 'alert')} ${await text(page, 'status')}`);
  await page.shot('desktop-light-reconnecting');
  await demo.start();
  await says(page, 'link-text', /Ready/, 15_000);
  await dial(page, '602');
  await talks(page);
  report.check('back again, and the next call works', true);
  page.on('dialog', (dialog) => dialog.accept());
  await page.reload();
  await says(page, 'link-text', /Ready/);
  report.equal('a page that is left hangs up, after asking; it needs no token again', (await api('/call/list')).calls.length, 0);

  // a browser that crashed said no goodbye: its tab, restored, finds its call again
  const client = new Api(`http://127.0.0.1:${HTTP}`, TOKEN);
  const left = await client.make('602');
  await page.evaluate((id) => sessionStorage.setItem('call', JSON.stringify({ id, name: 'Tone' })), left);
  await page.reload();
  await says(page, 'talking-kind', /In call/);
  report.near('a restored page is in its call: frequency', (await hear(page)).hertz, 1004, 10.04, 'Hz');
  await hangUp(page);
  report.equal('nothing went wrong in the page', page.problems.join('; '), '');

  await network(ctx, browser);
}

async function api(route) {
  return (await fetch(`http://127.0.0.1:${HTTP}${route}`, { headers: { token: TOKEN } })).json();
}

async function headers({ report }, demo) {
  const response = await fetch(new URL('/', demo.url));
  const policy = response.headers.get('content-security-policy');
  report.check('a strict policy', /default-src 'none'; script-src 'self'; style-src 'self'/.test(policy) && !/unsafe/.test(policy), policy);
  const description = await (await fetch(new URL('/openapi.json', demo.url))).json();
  const paths = Object.entries(description.paths).flatMap(([route, methods]) => Object.keys(methods).map((method) => [method.toUpperCase(), route]));
  let wrong = 0;
  for (const [method, route] of paths) {
    const { status } = await fetch(new URL(route, demo.url), { method });
    if (status === 404 || status === 405) wrong++;
  }
  report.check('every route of /openapi.json is served', wrong === 0 && paths.length > 15, `${paths.length} routes`);
}

async function extensions({ report, tone }, page) {
  console.log('  -- every extension');
  await dial(page, 'tone');
  await talks(page);
  const steady = await hear(page);
  report.near('tone: frequency', steady.hertz, 1004, 10.04, 'Hz');
  report.check('tone: pure', steady.purity > 0.97, steady.purity.toFixed(4));
  await hangUp(page);

  await page.getByRole('button', { name: /^Call Echo/ }).click();
  await talks(page);
  const echo = await hear(page, 2);
  report.near('echo: the microphone comes back: frequency', echo.hertz, tone.hertz, tone.hertz / 100, 'Hz');
  report.check('echo: loud enough', echo.level > -35, `${echo.level.toFixed(1)} dBFS`);
  await hangUp(page);

  await dial(page, 'dtmf');
  await talks(page);
  await page.waitForTimeout(500);
  const heard = listen(page, 2);
  await page.click('#keys');
  await page.keyboard.press('5');
  const { rate, samples } = await heard;
  const beep = loudest(samples, rate, 1 / 16);
  const { hertz } = strongest(beep, rate);
  report.check('keys: 5 comes back as 770 and 1336 Hz', Math.min(Math.abs(hertz - 770), Math.abs(hertz - 1336)) < 15 && rmsDb(beep) > -35, `${hertz.toFixed(1)} Hz at ${rmsDb(beep).toFixed(1)} dBFS`);
  await page.click('#keys');
  await hangUp(page);

  const offered = await page.locator('#suggestion-list button').evaluateAll((all) => all.map((b) => b.firstChild.textContent));
  for (const name of offered.filter((n) => n !== 'Callback').flatMap((n) => [n, n.toUpperCase()])) {
    await dial(page, ` ${name} `);
    await talks(page);
    report.equal(`“${name}” can be dialled, and the call is headed as the list has it`, await text(page, 'talking-who'), offered.find((o) => o.toUpperCase() === name.toUpperCase()));
    await hangUp(page);
  }
  report.equal('a phone shows a keyboard with letters', await page.locator('#number').getAttribute('inputmode'), null);

  await dial(page, '604');
  await talks(page);
  const music = await listen(page, 2);
  report.check('music is heard', rmsDb(music.samples) > -45, `${rmsDb(music.samples).toFixed(1)} dBFS`);
  await hangUp(page);
}

async function inbound({ report, tone }, page, person) {
  console.log('  -- a call that comes in, at two windows');
  const other = await person({ colorScheme: 'dark' });
  await says(other, 'link-text', /Ready/);
  await dial(page, 'callback');
  await isShown(other, 'ringing');
  await isShown(page, 'ringing');
  report.equal('who calls', await text(other, 'ringing-who'), 'Callback');
  await other.shot('desktop-dark-ringing');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await talks(page);
  await says(other, 'status', /Callback: answered on another device\./);
  report.check('answered here, and the other window knows', true);
  const echo = await hear(page, 2);
  report.near('both directions: the microphone comes back: frequency', echo.hertz, tone.hertz, tone.hertz / 100, 'Hz');
  await hangUp(page);
  report.check('hung up', true, await text(page, 'status'));

  await dial(page, '601');
  await isShown(other, 'ringing');
  await other.getByRole('button', { name: 'Decline' }).click();
  await isShown(page, 'idle');
  report.check('declined at one, it rings at neither', true, await text(page, 'status'));
  await other.context().close();
}

async function another({ report }, page) {
  console.log('  -- another person calls, first during a call, then in vain');
  const maria = new Api(`http://127.0.0.1:${HTTP}`, BERT);
  await dial(page, '602');
  await talks(page);
  const second = await maria.make('100');
  await says(page, 'waiting-text', /^Maria do Carmo Albuquerque is calling\.$/);
  await page.shot('desktop-light-waiting');
  await page.getByRole('button', { name: 'End and answer' }).click();
  await says(page, 'talking-who', /Maria/);
  await until('answered', async () => (await maria.status(second)).state === 'active');
  report.check('the first call is ended, the second answered', true);
  await maria.hangup(second);
  await says(page, 'status', /Maria do Carmo Albuquerque hung up\./);
  const third = await maria.make('100');
  await isShown(page, 'ringing');
  await maria.hangup(third);
  await says(page, 'status', /Missed call from Maria do Carmo Albuquerque\./);
  report.check('a missed call is told', true);
}

async function keyboard({ report }, page) {
  console.log('  -- by keyboard alone');
  await page.locator('#number').focus();
  const reached = new Set();
  for (let i = 0; i < 24; i++) {
    await page.keyboard.press('Tab');
    reached.add(await page.evaluate(() => document.activeElement.id || document.activeElement.getAttribute('aria-label') || document.activeElement.tagName));
  }
  report.check('all that can be used is reached', ['call', 'pad-toggle', 'number'].every((id) => reached.has(id)) && [...reached].filter((r) => /^Call /.test(r)).length === 5, [...reached].join(', '));
  await page.locator('#number').focus();
  await page.keyboard.press('Control+A');
  await page.keyboard.type('602');
  await page.keyboard.press('Enter');
  await talks(page);
  const controls = new Set();
  for (let i = 0; i < 8; i++) {
    await page.keyboard.press('Tab');
    const outline = await page.evaluate(() => [document.activeElement.id, getComputedStyle(document.activeElement).outlineStyle]);
    if (outline[1] === 'solid') controls.add(outline[0]);
  }
  report.check('in a call, with a focus that can be seen', ['mute', 'hold', 'keys', 'hang-up'].every((id) => controls.has(id)), [...controls].join(', '));
  await page.locator('#mute').focus();
  await page.keyboard.press('Space');
  report.equal('space mutes', await page.locator('#mute').getAttribute('aria-label'), 'Unmute');
  await hangUp(page);
}

async function controls({ report }, page) {
  console.log('  -- mute and hold');
  await dial(page, '600');
  await talks(page);
  await page.getByRole('button', { name: 'Mute', exact: true }).click();
  await page.waitForTimeout(800);
  const muted = await listen(page, 1);
  report.check('muted: nothing comes back from the echo', rmsDb(muted.samples) < -60, `${rmsDb(muted.samples).toFixed(1)} dBFS`);
  await page.getByRole('button', { name: 'Unmute' }).click();
  await page.getByRole('button', { name: 'Hold' }).click();
  await says(page, 'talking-kind', /On hold/);
  await page.waitForTimeout(800);
  const held = await listen(page, 1);
  report.check('on hold: nothing of the microphone comes back', rmsDb(held.samples) < -60, `${rmsDb(held.samples).toFixed(1)} dBFS`);
  await page.shot('desktop-light-held');
  await page.getByRole('button', { name: 'Resume' }).click();
  await says(page, 'talking-kind', /In call/);
  await page.waitForTimeout(800);
  const back = await listen(page, 2);
  report.check('resumed: it comes back', rmsDb(back.samples) > -35, `${rmsDb(back.samples).toFixed(1)} dBFS`);
  await hangUp(page);
}

/** Each state at each width and in each light, for eyes; and that nothing is cut off sideways. */
async function everywhere({ report }, person) {
  console.log('  -- pictures: phone and desktop, light and dark');
  let wide = 0;
  for (const [kind, viewport] of [['phone', { width: 390, height: 844 }], ['desktop', { width: 1280, height: 800 }], ['narrow', { width: 320, height: 568 }]]) {
    for (const colorScheme of ['light', 'dark']) {
      const page = await person({ viewport, colorScheme, reducedMotion: 'reduce', isMobile: kind !== 'desktop', hasTouch: kind !== 'desktop' });
      const shot = async (state) => {
        wide += (await page.evaluate(() => document.documentElement.scrollWidth > innerWidth)) ? 1 : 0;
        await page.shot(`${kind}-${colorScheme}-${state}`);
      };
      await says(page, 'link-text', /Ready/);
      await shot('idle');
      await page.click('#pad-toggle');
      await shot('idle-keypad');
      await page.click('#pad-toggle');
      await dial(page, '602');
      await talks(page);
      await page.waitForTimeout(700);
      await shot('talking');
      await page.click('#keys');
      await shot('talking-keypad');
      await page.click('#keys');
      await page.click('#hold');
      await says(page, 'talking-kind', /On hold/);
      await shot('held');
      await page.click('#hang-up');
      await isShown(page, 'idle');
      await shot('ended');
      await dial(page, '601');
      await isShown(page, 'ringing');
      await shot('ringing');
      await page.click('#decline');
      await isShown(page, 'idle');
      await page.context().close();
    }
  }
  report.equal('nothing is wider than its screen', wide, 0);
}

/** `--lan`: a phone in the network comes by HTTPS. */
async function network({ report, binary, out, started }, browser) {
  const own = Object.values(networkInterfaces()).flat().find((i) => i.family === 'IPv4' && !i.internal)?.address;
  if (!report.check('this machine has a network', !!own)) return;
  const demo = new Demo({ binary, http: HTTP + 5, args: ['--lan'] });
  try {
    await demo.start();
  } catch (error) {
    return report.check('--lan starts', false, error.message);
  }
  started({ stop: () => demo.stop() });
  const url = demo.child.output.match(new RegExp(`https://${own.replaceAll('.', '\\.')}:1338/\\S+`))?.[0];
  report.check('--lan names the address in the network', !!url, url);
  const page = await browser.person({ url, out, ignoreHTTPSErrors: true, viewport: { width: 390, height: 844 } });
  await says(page, 'link-text', /Ready/);
  await dial(page, '602');
  await talks(page);
  report.near('over HTTPS, from the network: frequency', (await hear(page)).hertz, 1004, 10.04, 'Hz');
  await hangUp(page);
  await page.context().close();
  const refused = await command('sh', ['-c', `"${binary}" --lan --config "${path.join(out, 'none.toml')}"; echo "exit $?"`], { mayFail: true });
  report.check('--lan belongs to the demo', /cannot be used with '--config[^]*exit 2\s*$/.test(refused.output ?? refused), String(refused.output ?? refused).trim());
}
