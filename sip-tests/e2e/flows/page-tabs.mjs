// The call page in more tabs of one browser than it opens connections to a server: they share one stream of events.
import { Demo, PlainBrowser, isConfigured } from '../lib/demo.mjs';
import { comer, dial, hangUp, isShown, says, talks, text } from '../lib/person.mjs';
import { sleep, until } from '../lib/process.mjs';
import { Api } from '../lib/sipedge.mjs';

export const name = 'the call page in many tabs';
export const alone = true;

const HTTP = 21470;
const BASE = `http://127.0.0.1:${HTTP}`;
const TOKEN = 'page-token-0123456789';
const BERT = 'bert-token-0123456789';
const MANY = 8;

const own = new Api(BASE, TOKEN);
const bert = new Api(BASE, BERT);
const calls = async (api) => (await api.ask('GET', '/call/list')).json.calls;

export async function run(ctx) {
  const { report, binary, out, microphone, started } = ctx;
  if (!report.check('no configuration of this machine is in the way', !isConfigured())) return;
  const env = { SIPEDGE_ACCOUNT__BERT__TOKEN: BERT, SIPEDGE_ACCOUNT__BERT__NUMBERS: '102', SIPEDGE_CALL__DRAIN: '30s' };
  const demo = started(await new Demo({ binary, http: HTTP, token: TOKEN, env }).start());
  const browser = await PlainBrowser.start({ microphone });
  started({ stop: () => browser.stop() });
  const world = { ...ctx, demo, person: comer({ browser, demo, out }) };
  for (const part of [many, asleep, without, stopping]) {
    for (const api of [own, bert]) for (const { callID } of await calls(api)) await api.hangup(callID);
    await part(world);
  }
}

/** One more tab of a browser. */
async function another(first, url) {
  const tab = await first.context().newPage();
  tab.on('pageerror', (error) => first.problems.push(String(error)));
  await tab.goto(url, { timeout: 10_000 });
  await says(tab, 'link-text', /Ready/);
  return tab;
}

/** The streams that the tabs of a browser have open. */
function streamsOf(context) {
  const begun = new Set();
  context.on('request', (request) => request.url().endsWith('/call/events') && begun.add(request));
  for (const over of ['requestfinished', 'requestfailed']) context.on(over, (request) => begun.delete(request));
  return () => [...begun].filter((request) => !request.frame().page().isClosed());
}

/** All tabs show it, and how long the last took. */
async function all(tabs, id) {
  const began = Date.now();
  await Promise.all(tabs.map((tab) => isShown(tab, id)));
  return Date.now() - began;
}

async function many({ report, demo, person }) {
  console.log(`  -- ${MANY} tabs`);
  const first = await person();
  const streams = streamsOf(first.context());
  await first.reload();
  await says(first, 'link-text', /Ready/);
  const tabs = [first];
  while (tabs.length < MANY) {
    const tab = await another(first, demo.url).catch((error) => void console.log(`     tab ${tabs.length + 1}: ${error.message.split('\n')[0]}`));
    if (!tab) break;
    tabs.push(tab);
  }
  if (!report.equal('all are ready', tabs.length, MANY)) return first.context().close();
  report.equal('and have one stream', streams().length, 1);

  await bert.make('100');
  const took = await all(tabs, 'ringing');
  report.check('a call rings in all at once', took < 2_000, `${took} ms`);
  await tabs[3].click('#answer');
  await talks(tabs[3]);
  const others = tabs.filter((tab) => tab !== tabs[3]);
  await Promise.all(others.map((tab) => says(tab, 'other-list', /In call, in another tab/)));
  report.check('answered in one, it rings in no other', (await Promise.all(others.map((tab) => tab.locator('#idle').isVisible()))).every(Boolean));
  await hangUp(tabs[3]);
  await Promise.all(others.map((tab) => tab.locator('#others').waitFor({ state: 'hidden' })));
  report.check('and ended there, it is in none', true);

  console.log('  -- the tab that has the stream is closed');
  const closed = Date.now();
  await tabs.shift().close();
  await until('another tab has it', () => streams().length === 1);
  await streams()[0].response();
  const without = Date.now() - closed;
  report.check('another has it at once', without < 2_000, `${without} ms`);
  const next = await bert.make('100');
  await all(tabs, 'ringing');
  const late = await another(tabs[0], demo.url);
  report.check('and in a tab that comes while it rings', await late.locator('#ringing').isVisible());
  tabs.push(late);
  await bert.hangup(next);
  await Promise.all(tabs.map((tab) => says(tab, 'status', /^Missed call from /)));
  report.check('none goes on ringing when the caller hangs up', true);

  console.log('  -- the server goes, and comes back');
  demo.child.process.kill('SIGKILL');
  await demo.child.exited;
  await Promise.all(tabs.map((tab) => says(tab, 'link-text', /Reconnecting/)));
  await demo.start();
  await Promise.all(tabs.map((tab) => says(tab, 'link-text', /Ready/, 20_000)));
  report.equal('all say so, and are back with the server, by one stream', streams().length, 1);
  report.equal('no error in any tab', first.problems.join('; '), '');
  await tabs[0].context().close();
}

/** A phone stops the tabs that nobody looks at. */
async function asleep({ report, demo, person }) {
  console.log('  -- the tab that has the stream is put to sleep');
  const first = await person();
  const streams = streamsOf(first.context());
  const second = await another(first, demo.url);
  report.equal('it has the stream alone', streams().length, 0);
  const control = await first.context().newCDPSession(first);
  await control.send('Debugger.enable');
  const paused = new Promise((done) => control.once('Debugger.paused', done));
  await control.send('Debugger.pause');
  first.evaluate(() => 0).catch(() => {});
  await paused;
  await second.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
  await until('another tab takes it', () => streams().length === 1, 8_000);
  const id = await bert.make('100');
  await isShown(second, 'ringing');
  report.check('a tab that is looked at takes it, and rings', true);
  await bert.hangup(id);
  await says(second, 'status', /^Missed call from /);
  await control.send('Debugger.resume');
  await control.send('Debugger.disable');
  await bert.make('100');
  await all([first, second], 'ringing');
  await sleep(500);
  report.check('awake again, it hears by the other', streams().length === 1);
  report.equal('no error', first.problems.join('; '), '');
  await first.context().close();
}

async function without({ report, demo, person }) {
  console.log('  -- a browser that cannot share');
  const first = await person({ isStranger: true, url: `${BASE}/page/icon.svg` });
  const streams = streamsOf(first.context());
  await first.context().addInitScript(() => Object.defineProperty(navigator, 'locks', { value: undefined }));
  const tabs = [await another(first, demo.url), await another(first, demo.url)];
  report.equal('each tab has its own stream', streams().length, 2);
  await bert.make('100');
  await all(tabs, 'ringing');
  report.check('and rings', true);
  await first.context().close();
}

async function stopping({ report, demo, person }) {
  console.log('  -- the server is being stopped');
  const first = await person();
  const second = await another(first, demo.url);
  await dial(second, '602');
  await talks(second);
  demo.child.process.kill('SIGTERM'); // calls may go on for 30 s
  for (const tab of [first, second]) await says(tab, 'link-text', /^Stopping$/);
  const late = await first.context().newPage();
  await late.goto(demo.url);
  await says(late, 'link-text', /^Stopping$/);
  report.check('a tab that comes later says so, too', true, await text(late, 'status'));
  await first.context().close();
}
