// The call page and its server: two people at two pages, a server that says it will stop, a line that is very slow, and an end
// that the server has yet to hear of.
import { Demo, PlainBrowser, hear, isConfigured } from '../lib/demo.mjs';
import { comer, dial, hangUp, isShown, says, talks, text } from '../lib/person.mjs';
import { sleep, until } from '../lib/process.mjs';
import { Api } from '../lib/sipedge.mjs';

export const name = 'the call page and its server';
export const alone = true;

const HTTP = 21490;
const BASE = `http://127.0.0.1:${HTTP}`;
const TOKEN = 'page-token-0123456789';

const own = new Api(BASE, TOKEN);
const calls = async () => (await own.ask('GET', '/call/list')).json.calls;

export async function run(ctx) {
  const { report, binary, out, microphone, started } = ctx;
  if (!report.check('no configuration of this machine is in the way', !isConfigured())) return;
  const demo = await new Demo({ binary, http: HTTP, token: TOKEN, env: { SIPEDGE_CALL__DRAIN: '30s' } }).start();
  started({ stop: () => demo.stop() });
  const browser = await PlainBrowser.start({ microphone });
  started({ stop: () => browser.stop() });
  const person = comer({ browser, demo, out });
  for (const part of [two, slow, unheard, undeclined, stop]) await part({ ...ctx, demo, browser, person });
}

/** The demo prints two links; who opens both talks from one to the other. */
async function two({ report, demo, out, person, tone }) {
  console.log('  -- two phones call each other');
  const links = [...new Set(demo.child.output.match(/http:\/\/\S+/g))];
  if (!report.equal('two links are printed', links.length, 2)) return console.log(demo.child.output);
  const first = await person();
  // in the same browser, as a newcomer does it: what tabs tell each other is shared
  const second = await first.context().newPage();
  second.out = out;
  await second.goto(links[1]);
  await says(second, 'link-text', /Ready/);
  for (const [from, to, number, caller] of [[first, second, '101', 'Demo'], [second, first, '100', 'Guest']]) {
    await dial(from, number);
    await isShown(to, 'ringing');
    report.equal(`${number} rings, and says who calls`, await text(to, 'ringing-who'), caller);
    await to.click('#answer');
    await talks(to);
    await talks(from);
    const { hertz, level } = await hear(to, 2);
    report.near('the other is heard: frequency', hertz, tone.hertz, tone.hertz / 100, 'Hz');
    report.check('loud enough', level > -35, `${level.toFixed(1)} dBFS`);
    await to.screenshot({ path: `${out}/page-two-${number}.png` });
    await from.bringToFront();
    await hangUp(from);
    await says(to, 'status', new RegExp(`^${caller} hung up\\.$`));
  }
  await dial(first, '100');
  await says(first, 'status', /The line is busy/);
  await first.context().close();
}

async function slow({ report, browser, demo, out }) {
  console.log('  -- a very slow line');
  const context = await browser.browser.newContext();
  await context.grantPermissions(['microphone'], { origin: BASE });
  const page = await context.newPage();
  const control = await context.newCDPSession(page);
  await control.send('Network.emulateNetworkConditions', { offline: false, latency: 2_500, downloadThroughput: 5_000, uploadThroughput: 3_000 });
  const seen = new Set();
  await page.goto(demo.url, { waitUntil: 'commit' });
  const main = async () => (await page.locator('main').innerText().catch(() => '')).trim();
  const begin = Date.now();
  await until('it offers to call', async () => {
    seen.add(await main());
    return page.locator('#idle').isVisible();
  }, 60_000);
  const took = ((Date.now() - begin) / 1000).toFixed(1);
  report.check('meanwhile it says what it does', seen.has('Loading …') && seen.has('Connecting …'), `${took} s: ${[...seen].map((s) => s.slice(0, 20)).join(' | ')}`);
  await page.screenshot({ path: `${out}/page-slow-up.png` });
  await dial(page, '602');
  const said = new Set();
  await until('in a call', async () => {
    for (const id of ['note-text', 'alert', 'status', 'link-text']) said.add((await text(page, id)).trim());
    return /\d\d:\d\d/.test(await text(page, 'timer'));
  }, 60_000);
  report.check('a call on it goes through, and nothing is said to have failed', ![...said].some((s) => /does not answer|Reconnecting/.test(s)), [...said].filter(Boolean).join(' | '));
  await page.click('#hang-up');
  await until('ended', async () => !(await calls()).length, 30_000);
  await context.close();
}

/** As when other tabs of the browser have all its connections. */
async function unheard({ report, person }) {
  console.log('  -- a call that the server still has is not said to have ended');
  const page = await person();
  await dial(page, '602');
  await talks(page);
  let go;
  const stalled = new Promise((done) => (go = done));
  await page.route('**/call/hangup', async (route) => {
    await stalled;
    await route.continue().catch(() => {});
  });
  await page.click('#hang-up');
  await isShown(page, 'idle');
  await sleep(500);
  report.check('it says what it does', /^Hanging up …$/.test(await text(page, 'status')) && (await calls()).length === 1, await text(page, 'status'));
  go();
  await says(page, 'status', /^Call ended\.$/);
  report.equal('and that it ended when it has', (await calls()).length, 0);
  await page.context().close();
}

/** A refusal that the server does not hear of leaves the call ringing there, and so here. */
async function undeclined({ report, demo, person }) {
  console.log('  -- a call that could not be declined rings on');
  const [first, second] = [await person(), await person()];
  await second.goto(demo.child.output.match(/http:\/\/\S+/g)[1]);
  await second.reload();
  await says(second, 'link-text', /Ready/);
  await dial(first, '101');
  await isShown(second, 'ringing');
  await second.context().setOffline(true);
  await second.click('#decline');
  await says(second, 'alert', /cannot be reached/);
  await isShown(second, 'ringing');
  report.check('offline: it rings on, and says why', true, await text(second, 'alert'));
  await second.context().setOffline(false);
  await says(second, 'link-text', /Ready/, 20_000);
  await isShown(second, 'ringing');
  await says(second, 'alert', /^$/);
  await second.click('#decline');
  await says(first, 'status', /declined/i);
  report.check('back again: it is declined, and the caller hears of it', true, await text(first, 'status'));
  await first.context().close();
  await second.context().close();
}

async function stop({ report, person, demo, browser, out }) {
  console.log('  -- the server is stopped');
  const page = await person();
  const idle = await person();
  await dial(page, '602');
  await talks(page);
  demo.child.process.kill('SIGTERM'); // calls may go on for 30 s
  await says(page, 'link-text', /^Stopping$/);
  await says(page, 'note-text', /being stopped or restarted/);
  await says(idle, 'status', /being stopped or restarted/);
  await says(idle, 'link-text', /^Stopping$/);
  await page.shot('desktop-light-stopping');
  await idle.shot('desktop-light-stopping-idle');
  report.check('a call goes on, and both pages say what is coming', /In call/.test(await text(page, 'talking-kind')));
  await dial(idle, '602');
  await says(idle, 'alert', /being stopped or restarted/);
  report.check('no new call is made, and why', true, await text(idle, 'alert'));
  const late = await browser.person({ url: demo.url, out });
  await says(late, 'link-text', /^Stopping$/);
  report.check('who comes now is told, too', true);
  await late.context().close();
  demo.child.process.kill('SIGTERM'); // and now at once
  await isShown(page, 'idle');
  await says(page, 'alert', /^The server was stopped or restarted, which ended the call with Tone\./);
  report.check('the end of the call is not called a fault', !/fault/.test(await text(page, 'alert')), await text(page, 'alert'));
  await says(page, 'link-text', /Reconnecting/);
  await page.shot('desktop-light-stopped');
  await demo.child.exited;
  await demo.start();
  await says(idle, 'link-text', /Ready/, 20_000);
  report.equal('back, nothing is said of it any more', `${await text(idle, 'status')}${await text(idle, 'alert')}`, '');
  await dial(page, '602');
  await talks(page);
  demo.child.process.kill('SIGKILL'); // no word, and all is forgotten
  await demo.child.exited;
  await demo.start();
  await says(page, 'alert', /^The call with Tone ended while the server could not be reached\.$/, 30_000);
  report.check('a call that a new server knows nothing of is over', await page.locator('#idle').isVisible());
  for (const each of [page, idle]) await each.context().close();
}
