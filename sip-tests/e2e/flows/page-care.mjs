// The call page where people stumble: several tabs, a microphone that goes, a network that stalls, keys pressed too fast.
import { Demo, PlainBrowser, isConfigured, listen } from '../lib/demo.mjs';
import { Events } from '../lib/events.mjs';
import { comer, dial, focus, hangUp, isShown, says, talks, text } from '../lib/person.mjs';
import { sleep, until } from '../lib/process.mjs';
import { rmsDb } from '../lib/signal.mjs';
import { Api } from '../lib/sipedge.mjs';

export const name = 'the call page, where people stumble';
export const alone = true;

const HTTP = 21430;
const BASE = `http://127.0.0.1:${HTTP}`;
const TOKEN = 'page-token-0123456789';
const BERT = 'bert-token-0123456789';
const MARIA = 'Maria do Carmo Albuquerque';

const own = new Api(BASE, TOKEN);
const maria = new Api(BASE, BERT);
const calls = async (api) => (await api.ask('GET', '/call/list')).json.calls;
const stateOf = async (api, id) => (await api.status(id)).state;

export async function run(ctx) {
  const { report, binary, out, microphone, started } = ctx;
  if (!report.check('no configuration of this machine is in the way', !isConfigured())) return;
  const env = {
    SIPEDGE_ACCOUNT__BERT__TOKEN: BERT, SIPEDGE_ACCOUNT__BERT__NUMBERS: '102', SIPEDGE_ACCOUNT__BERT__CALLER_ID: '+551140001234',
    SIPEDGE_ACCOUNT__BERT__DISPLAY_NAME: MARIA, SIPEDGE_ACCOUNT__DEMO__MAX_CALLS: '2',
  };
  const demo = started(await new Demo({ binary, http: HTTP, token: TOKEN, env }).start());
  const browser = await PlainBrowser.start({ microphone });
  started({ stop: () => browser.stop() });
  const person = comer({ browser, demo, out });
  const world = { ...ctx, demo, person };
  for (const part of [keys, tabs, microphones, answering, fingers, losses, links, silence, stall, words, names, tooMany, narrow, withoutAddress]) {
    await part(world);
    for (const api of [own, maria]) for (const { callID } of await calls(api)) await api.hangup(callID);
  }
}

async function keys({ report, person }) {
  console.log('  -- keys arrive in their order');
  const events = await Events.open(`${BASE}/call/events?token=${BERT}`);
  const page = await person();
  // every other request is slow: what is sent side by side overtakes
  let n = 0;
  await page.route('**/call/dtmf', async (route) => {
    if (n++ % 2 === 0) await sleep(200);
    await route.continue();
  });
  await dial(page, '102');
  const { call: { callID } } = await events.find('it rings', (e) => e.event === 'call.incoming');
  await maria.ask('POST', '/call/answer', { callID });
  await talks(page);
  await page.keyboard.type('99'); // the keys are closed: these are nobody's
  await page.click('#keys');
  const wanted = '12#4567890*3';
  await page.keyboard.type(wanted, { delay: 30 });
  const heard = () => events.list.filter((e) => e.event === 'call.dtmf').map((e) => e.digit).join('');
  await until('all keys', () => heard().length >= wanted.length, 15_000).catch(() => {});
  report.equal('in their order, and none while the keys are closed', heard(), wanted);
  await page.keyboard.press('Enter');
  report.equal('Enter after them does nothing', await stateOf(maria, callID), 'active');
  await page.keyboard.press('Escape');
  await page.locator('#talk-pad').waitFor({ state: 'hidden' });
  report.equal('Esc closes the keys', await stateOf(maria, callID), 'active');
  await page.keyboard.press('Escape');
  await says(page, 'note-text', /Press Esc again/);
  report.equal('one Esc more says what a second would do', await stateOf(maria, callID), 'active');
  await page.shot('desktop-light-escape');
  await hangUp(page);
  await page.context().close();
  events.close();
}

async function tabs({ report, person }) {
  console.log('  -- a tab is duplicated in a call');
  const first = await person();
  await dial(first, '602');
  await talks(first);
  const [{ callID }] = await calls(own);
  const copied = first.context().waitForEvent('page');
  await first.evaluate(() => void window.open('/')); // with a copy of what the tab keeps
  const second = await copied;
  await says(second, 'other-list', /Tone.*In call, in another tab/);
  report.check('the copy takes nothing by itself, and offers to', await second.locator('#idle').isVisible() && /In call/.test(await text(first, 'talking-kind')));
  await second.screenshot({ path: `${first.out}/page-desktop-light-other-tab.png` });
  await second.getByRole('button', { name: 'Take it here: Tone' }).click();
  await talks(second);
  await says(first, 'alert', /^This call is in another tab\.$/);
  await isShown(first, 'idle');
  await first.shot('desktop-light-taken');
  const { samples } = await listen(second, 1);
  report.check('taken: it is heard there, and the first tab steps back', rmsDb(samples) > -30, `${rmsDb(samples).toFixed(1)} dBFS`);
  await first.close();
  report.equal('a tab that stepped back hangs nothing up', await stateOf(own, callID), 'active');
  await hangUp(second);
  await second.context().close();

  console.log('  -- a call is taken to another device');
  const [here, there] = [await person(), await person()];
  await dial(here, '602');
  await talks(here);
  const [{ callID: moved }] = await calls(own);
  await says(there, 'other-list', /on another device/);
  await there.getByRole('button', { name: 'Take it here: Tone' }).click();
  await talks(there);
  // the first has no word of it: it notices that its sound stays away, and asks
  await says(here, 'alert', /in another window or on another device/, 60_000);
  report.equal('the first steps back there, too', await stateOf(own, moved), 'active');
  await hangUp(there);
  for (const page of [here, there]) await page.context().close();

  console.log('  -- a call that nobody hears is offered');
  const left = await own.make('602');
  const page = await person();
  await says(page, 'other-list', /Tone.*open nowhere/);
  await page.getByRole('button', { name: 'End: Tone' }).click();
  await until('ended', async () => (await stateOf(own, left)) === 'ended');
  await page.locator('#others').waitFor({ state: 'hidden' });
  report.check('and ended', true);
  await page.context().close();
}

/** The microphones of a page can be taken away and given back. */
async function withMicrophones(page) {
  await page.evaluate(() => {
    const native = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    window.mics = { opened: [], isThere: true };
    navigator.mediaDevices.getUserMedia = async (...wanted) => {
      if (!window.mics.isThere) throw new DOMException('', 'NotFoundError');
      const stream = await native(...wanted);
      window.mics.opened.push(stream.getAudioTracks()[0]);
      return stream;
    };
    window.unplug = () => {
      const track = window.mics.opened.at(-1);
      track.stop();
      track.dispatchEvent(new Event('ended'));
    };
  });
}

async function microphones({ report, person }) {
  console.log('  -- the microphone goes away in a call');
  const page = await person();
  await withMicrophones(page);
  await dial(page, '600');
  await talks(page);
  await page.evaluate(() => window.unplug());
  await until('another is opened', () => page.evaluate(() => window.mics.opened.length === 2));
  const { samples } = await listen(page, 2);
  report.check('another is taken, and is heard in the echo', rmsDb(samples) > -35, `${rmsDb(samples).toFixed(1)} dBFS`);
  await page.evaluate(() => {
    window.mics.isThere = false;
    window.unplug();
  });
  await says(page, 'note-text', /Your microphone is gone: Echo cannot hear you\./);
  await page.shot('desktop-light-no-microphone');
  report.check('none left: it is said, and the call goes on', (await calls(own))[0]?.state === 'active');
  await page.getByRole('button', { name: 'Try again' }).click();
  await says(page, 'alert', /No microphone was found/);
  await page.evaluate(() => {
    window.mics.isThere = true;
    navigator.mediaDevices.dispatchEvent(new Event('devicechange'));
  });
  await page.locator('#note').waitFor({ state: 'hidden' });
  report.check('connected again, it is taken by itself', (await page.evaluate(() => window.mics.opened.at(-1).readyState)) === 'live');
  report.equal('and no word of its absence is left', await text(page, 'alert'), '');
  report.equal('the focus, which was on “Try again”, is where it does no harm', await focus(page), 'talking-who');
  await hangUp(page);
  await page.context().close();
}

async function answering({ report, person }) {
  console.log('  -- answering with a blocked microphone');
  const page = await person({ allowed: false });
  const id = await maria.make('100');
  await isShown(page, 'ringing');
  await page.click('#answer');
  await says(page, 'alert', /Your microphone is blocked; the call goes on ringing\./);
  report.equal('it goes on ringing', (await calls(own))[0]?.state, 'incoming');
  report.check('here, too', await page.locator('#ringing').isVisible());
  await page.shot('desktop-light-answer-blocked');
  await page.context().grantPermissions(['microphone'], { origin: BASE });
  await page.click('#answer');
  await talks(page);
  report.equal('allowed, then answered', await stateOf(maria, id), 'active');
  await hangUp(page);
  await page.context().close();
}

async function fingers({ report, person }) {
  console.log('  -- a key that was meant for what was shown before');
  const page = await person();
  await page.fill('#number', '602');
  await page.keyboard.press('Enter');
  await page.keyboard.press('Enter');
  await talks(page);
  report.equal('Enter twice calls and does not hang up; the focus rests', await focus(page), 'talking-who');
  await hangUp(page);

  await page.focus('#number');
  await page.keyboard.press('Control+A');
  await page.keyboard.type('60');
  const id = await maria.make('100');
  await says(page, 'waiting-text', /^Maria do Carmo Albuquerque is calling\.$/);
  await page.shot('desktop-light-ringing-beside');
  await page.keyboard.type('2');
  report.equal('a call that comes in takes no field away', await page.inputValue('#number'), '602');
  await page.keyboard.press('Enter');
  await talks(page);
  report.equal('and Enter calls what was written', await text(page, 'talking-who'), 'Tone');
  report.equal('while the other goes on ringing', (await calls(own)).find((c) => c.direction === 'inbound')?.state, 'incoming');
  await maria.hangup(id);
  await hangUp(page);

  await page.locator('#suggestion-list button').nth(2).focus();
  const second = await maria.make('100');
  await isShown(page, 'ringing');
  report.equal('ringing, the focus is on neither button', await focus(page), 'ringing-who');
  await maria.hangup(second);
  await isShown(page, 'idle');
  report.check('given up, the focus is where it was', await page.locator('#suggestion-list button').nth(2).evaluate((b) => b === document.activeElement));

  await page.click('#pad-toggle');
  await page.fill('#number', '');
  await page.locator('#idle-pad [data-digit="0"]').click({ delay: 900 });
  await page.locator('#idle-pad [data-digit="0"]').click();
  report.equal('0 held is a +', await page.inputValue('#number'), '+0');
  await page.context().close();
}

async function losses({ report, person }) {
  console.log('  -- what had the focus goes away');
  const page = await person();
  await dial(page, '602');
  await talks(page);
  await maria.make('100');
  await isShown(page, 'waiting');
  await page.focus('#waiting-decline');
  await page.keyboard.press('Enter');
  await page.locator('#waiting').waitFor({ state: 'hidden' });
  report.equal('a second call is declined: the focus is in the first', await focus(page), 'talking-who');
  await hangUp(page);

  const others = [await own.make('602'), await own.make('604')];
  await page.getByRole('button', { name: 'End: Music' }).waitFor();
  await page.getByRole('button', { name: 'End: Tone' }).focus();
  await page.keyboard.press('Enter');
  await until('ended', async () => (await stateOf(own, others[0])) === 'ended');
  await page.getByRole('button', { name: 'End: Tone' }).waitFor({ state: 'detached' });
  report.equal('one of two other calls is ended: the focus stays with them', await focus(page), 'others-title');
  await page.getByRole('button', { name: 'End: Music' }).focus();
  await page.keyboard.press('Enter');
  await page.locator('#others').waitFor({ state: 'hidden' });
  report.equal('the last is ended: the focus stays in the page', await focus(page), 'idle-title');
  await page.context().close();
}

async function links({ report, person }) {
  console.log('  -- a new link in an old tab');
  const page = await person({ url: `${BASE}/#token=stale-token-0123456789`, isStranger: true });
  await says(page, 'alert', /not known/);
  await page.goto(`${BASE}/#token=${TOKEN}`); // only the fragment differs: nothing is loaded
  await says(page, 'link-text', /Ready/);
  report.equal('it signs in, and the token is gone from the address', page.url(), `${BASE}/`);
  await dial(page, '602');
  await talks(page);
  await page.evaluate((token) => { location.hash = `token=${token}`; }, BERT);
  await says(page, 'note-text', /new link is used when it is over/);
  report.equal('in a call it waits', (await calls(own))[0]?.state, 'active');
  await page.keyboard.press('Escape');
  await hangUp(page);
  await until('the other account', async () => (await page.evaluate(() => sessionStorage.token))?.includes(BERT));
  await says(page, 'link-text', /Ready/);
  report.check('and then signs in anew', true);
  await page.context().close();
}

/** The server stands still for a while: nothing comes, neither sound nor answers. */
async function silence({ report, person, demo }) {
  console.log('  -- nothing arrives for a while');
  const page = await person();
  await dial(page, '602');
  await talks(page);
  await sleep(1_000);
  demo.child.process.kill('SIGSTOP');
  const began = Date.now();
  try {
    await says(page, 'talking-kind', /Sound is interrupted/, 9_000);
    const after = Date.now() - began;
    report.check('it is said within 5 s', after < 5_500, `${after} ms`);
    await page.shot('desktop-light-interrupted');
    await page.setViewportSize({ width: 390, height: 844 });
    await page.shot('phone-light-interrupted');
  } finally {
    demo.child.process.kill('SIGCONT');
  }
  await says(page, 'talking-kind', /In call/);
  await page.locator('#note').waitFor({ state: 'hidden' });
  report.check('and taken back when it comes again', true);
  await hangUp(page);
  await page.context().close();

  const far = await person();
  // no candidate of either side is one: as behind a firewall that lets no UDP through
  await far.route('**/call/webrtc/offer', async (route) => {
    const without = (sdp) => sdp.replace(/a=candidate:.*\r\n/g, '');
    const offer = route.request().postDataJSON();
    const response = await route.fetch({ postData: JSON.stringify({ ...offer, sdp: without(offer.sdp) }) });
    const answer = await response.json();
    await route.fulfill({ response, json: { ...answer, sdp: without(answer.sdp) } });
  });
  await dial(far, '602');
  await says(far, 'talking-kind', /Connecting sound …/);
  await sleep(1_500);
  report.check('without a path, nothing claims to be connected', !(await text(far, 'timer')) && /Connecting sound …/.test(await text(far, 'talking-kind')) && !/Connected/.test(await text(far, 'status')));
  await far.shot('desktop-light-connecting-sound');
  await hangUp(far);
  await far.context().close();
}

async function stall({ report, person }) {
  console.log('  -- a request without an answer');
  const page = await person();
  await dial(page, '602');
  await talks(page);
  let go;
  const stalled = new Promise((done) => (go = done));
  await page.route('**/call/hold', async (route) => {
    await stalled;
    await route.continue().catch(() => {}); // given up by then
  });
  await page.click('#hold');
  await says(page, 'talking-kind', /Putting on hold …/, 1_000);
  report.check('a pressed button shows at once that it waits', await page.locator('#hold').isDisabled());
  const began = Date.now();
  await says(page, 'alert', /did not answer within 10 seconds/, 14_000);
  report.near('and is given up', (Date.now() - began) / 1000, 10, 2, 's');
  await page.shot('desktop-light-stall');
  go();
  await says(page, 'link-text', /Ready/);
  await says(page, 'talking-kind', /In call/);
  await page.unroute('**/call/hold');
  const [{ callID }] = await calls(own);
  await page.click('#hold');
  await says(page, 'talking-kind', /On hold/);
  report.equal('page and server agree again', await stateOf(own, callID), 'on_hold');
  await hangUp(page);
  await page.context().close();
}

async function words({ report, person }) {
  console.log('  -- words that are true');
  const page = await person();
  // the stream goes, and comes back later
  let isCut = true;
  await page.route('**/call/events', (route) => (isCut ? route.abort() : route.continue()));
  await page.route('**/call/list', (route) => (isCut ? route.abort() : route.continue()));
  await page.reload();
  await says(page, 'status', /The server does not answer\. Trying again\./);
  report.check('absent, it is not called ready', !/Ready/.test(await text(page, 'link-text')));
  isCut = false;
  await says(page, 'link-text', /Ready/);
  report.equal('back, nothing else is said', await text(page, 'status'), '');

  await dial(page, '602');
  await talks(page);
  for (const [id, before, after] of [['mute', 'Mute', 'Unmute'], ['hold', 'Hold', 'Resume']]) {
    const name = () => page.locator(`#${id}`).evaluate((b) => [b.getAttribute('aria-label'), document.getElementById(`${b.id}-text`).textContent, b.getAttribute('aria-pressed')].join());
    const was = await name();
    await page.click(`#${id}`);
    await says(page, `${id}-text`, new RegExp(`^${after}$`));
    report.equal(`${before}: its name is what is to be read`, `${was} ${await name()}`, `${before},${before}, ${after},${after},`);
  }
  await hangUp(page);
  await page.context().close();

  const insecure = await person({ isStranger: true, url: `${BASE}/` });
  await insecure.addInitScript(() => Object.defineProperty(window, 'isSecureContext', { value: false }));
  await insecure.reload();
  await says(insecure, 'insecure', /opened without encryption .* https address\. .* http:\/\/localhost:21430 works/);
  report.check('a page without encryption says at once what it cannot do', await insecure.locator('#insecure').isVisible());
  await insecure.shot('desktop-light-insecure');
  await insecure.context().close();
}

async function names({ report, person }) {
  console.log('  -- a caller keeps the name');
  const page = await person();
  const id = await maria.make('100');
  await isShown(page, 'ringing');
  await page.reload();
  await isShown(page, 'ringing');
  report.equal('after a reload', await text(page, 'ringing-who'), MARIA);
  await maria.hangup(id);
  await page.context().close();
}

async function tooMany({ report, person }) {
  console.log('  -- as many calls as there may be');
  for (const number of ['602', '604']) await own.make(number);
  const page = await person();
  await dial(page, '600');
  await says(page, 'alert', /End one of those below first\./);
  await page.shot('desktop-light-too-many');
  await page.getByRole('button', { name: 'End: Music' }).click();
  await dial(page, '600');
  await talks(page);
  report.check('one is ended, and the next goes through', true);
  await hangUp(page);
  await page.context().close();
}

async function narrow({ report, person }) {
  console.log('  -- a long number on a narrow screen');
  await own.make('602');
  let wide = '';
  for (const forcedColors of ['none', 'active']) {
    const page = await person({ viewport: { width: 320, height: 568 }, forcedColors });
    await dial(page, 'nowhere-with-a-very-long-number-012345678901234567890123456789ab');
    await says(page, 'alert', /cannot be called/);
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    if (width > 320) wide += ` ${width}`;
    await page.shot(`narrow-${forcedColors === 'active' ? 'forced' : 'light'}-long`);
    if (forcedColors === 'active') {
      const dot = await page.locator('.dot').evaluate((d) => getComputedStyle(d).borderTopStyle);
      report.equal('the dot is seen in forced colours', dot, 'solid');
    }
    await page.context().close();
  }
  report.equal('nothing is wider than the screen', wide, '');
}

async function withoutAddress({ report, microphone, out, demo, started }) {
  console.log('  -- a browser that keeps its addresses');
  // as a company's policy may have it, and as Firefox does without a network
  const browser = await PlainBrowser.start({ microphone, args: ['--webrtc-ip-handling-policy=disable_non_proxied_udp', '--force-webrtc-ip-handling-policy'] });
  started({ stop: () => browser.stop() });
  const page = await browser.person({ url: demo.url, out });
  await says(page, 'link-text', /Ready/);
  await dial(page, '602');
  await says(page, 'alert', /Your browser names no address/);
  report.check('says so', true, await text(page, 'alert'));
  await until('nobody is called', async () => (await calls(own)).length === 0);
  report.check('and the call is over', true);
  await page.shot('desktop-light-no-address');
}
