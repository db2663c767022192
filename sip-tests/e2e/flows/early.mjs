// A browser attached before the answer hears early media, and is connected when the answer comes. Who is heard before the
// answer takes keys, too.
import { until } from '../lib/process.mjs';
import { Callee } from '../lib/callee.mjs';
import { dials, trunkOf } from '../lib/secure.mjs';
import { Listener } from '../lib/sipedge.mjs';

export const name = 'before the answer';

export async function run(ctx) {
  const { report, api, browser, pbx, account } = ctx;
  const client = api(account('pcmu'));
  const early = await client.make('618');
  const page = await browser.page();
  await browser.attach(page, { api: client.base, token: client.token, callID: early });
  const received = await until('early media', async () => {
    const { received } = await page.evaluate(() => window.statistics());
    return received > 10 && received;
  });
  report.check('early media reaches the browser', received > 10, `${received} packets`);
  const ended = await until('618 ends', async () => {
    const c = await client.status(early);
    return c.state === 'ended' && c;
  });
  // the PBX sends 480 with Reason: Q.850;cause=19, which says that nobody answered (RFC 6432)
  report.equal('480 with "no answer" as its reason', ended.endReason, 'timeout');
  report.equal('it was never answered', ended.answeredAt, null);
  await page.close();

  const since = pbx.mark();
  const ringing = await client.make('609');
  const second = await browser.page();
  await browser.attach(second, { api: client.base, token: client.token, callID: ringing });
  report.equal('connected while it rings', (await client.status(ringing)).state, 'ringing');
  await until('609 answers', async () => (await client.status(ringing)).state === 'active');
  // Chromium's echo canceller leaves little of an echo to measure: packets count here, tones in tones.mjs
  const before = (await second.evaluate(() => window.statistics())).received;
  await until('the echo comes back after the answer', async () => (await second.evaluate(() => window.statistics())).received > before + 40);
  await client.hangup(ringing);
  const figures = await pbx.callEnd(since);
  report.check('packets both ways', figures.rtp_in > 30 && figures.rtp_out > 30, `in ${figures.rtp_in}, out ${figures.rtp_out}`);
  await second.close();
  await quietUntilAnswered(ctx);
  await anotherCodec(ctx);
  await keys(ctx);
  await keysByInfo(ctx);
  await keysAtThePage(ctx);
}

/** Early media in PCMU and an answer in PCMA, of a call that the PBX makes: it is offered PCMA and both sides are heard after that. */
async function anotherCodec(ctx) {
  const { report, pbx } = ctx;
  const callee = await new Callee({ early: 0, answer: 8, letter: 0x5a }).start();
  const routes = `
[trunk.callee]
host = "127.0.0.1:${callee.port}"
inbound = "off"
qualify = "off"
codecs = ["PCMU", "PCMA"]

[[route]]
number = "1001"
to = "trunk.callee"
`;
  const { sip, sipedge, stop } = await trunkOf(ctx, 'trunk-in', { codecs: ['PCMU', 'PCMA'], routes });
  try {
    const since = pbx.mark();
    await dials(pbx, 'trunk-in', sip, '628'); // its echo begins once the re-INVITE is through
    // the PBX's echo gives back what the callee says
    const isEcho = ({ type, payload }) => type === 8 && payload.length === 160 && payload.every((b) => b === callee.letter);
    const echoed = await until('the echo in PCMA', () => {
      const count = callee.heard.filter(isEcho).length;
      return count > 50 && count;
    });
    report.check('after an answer in PCMA both sides are heard in it', echoed > 50, `${echoed} packets`);
    report.check('the PBX was offered PCMA', /INVITE sip:[^]*?m=audio \d+ RTP\/AVP 8 /.test(since()));
    await pbx.hangsUp();
    await pbx.callEnd(since);
  } catch (error) {
    console.log(sipedge.output.slice(-3000), JSON.stringify(callee.invites));
    throw error;
  } finally {
    await stop();
    callee.stop();
  }
}

const heardEarly = (client, callID) => until('the PBX has early media', async () => (await client.status(callID)).media.early);
const keysRead = (since, wanted) => until('the PBX has read keys', () => since().match(/app_verbose\.c: .*keys-read (\S*)/)?.[1], 15_000).then((read) => read === wanted || `read ${read}`);

/** Calls 619, which reads four keys before it answers and sends them back before that, too. */
async function readBeforeTheAnswer({ report, pbx }, client, what) {
  const listener = new Listener(client);
  await listener.opened;
  const since = pbx.mark();
  const callID = await client.make('619');
  await heardEarly(client, callID);
  const sent = await client.ask('POST', '/call/dtmf', { callID, digits: '1234', duration: 120 });
  report.equal(`${what}: keys before the answer are taken`, `${sent.status} ${sent.json?.call?.state ?? sent.json?.error}`, '200 ringing');
  report.equal(`${what}: the PBX reads them`, await keysRead(since, '1234'), true);
  let back = '';
  while (back.length < 4) {
    const { digit, call } = await listener.next('call.dtmf', callID);
    if (call.state !== 'ringing') break;
    back += digit;
  }
  report.equal(`${what}: and presses them itself before the answer`, back, '1234');
  const answered = await until('619 answers', async () => {
    const call = await client.status(callID);
    return call.state === 'active' && call;
  });
  report.equal(`${what}: from the answer on there is no early media`, answered.media.early, false);
  await listener.next('call.ended', callID);
  await listener.stop();
  return since;
}

async function keys(ctx) {
  const { report, api, pbx, account, variant } = ctx;
  console.log('  -- keys before the answer');
  const client = api(account('pcmu'));
  const silent = await client.make('611');
  await until('611 rings', async () => (await client.status(silent)).state === 'ringing');
  const refused = await client.ask('POST', '/call/dtmf', { callID: silent, digits: '1' });
  report.equal('nobody hears them without early media', `${refused.status} ${refused.json?.error}`,
    '400 the other side hears no keys yet: it has not answered, and has no early media');
  await client.hangup(silent);
  await readBeforeTheAnswer(ctx, client, 'RFC 4733');
  // trunk to trunk: the PBX calls itself by way of sipedge
  const other = await variant({ name: 'early-trunks' });
  try {
    const since = pbx.mark();
    await pbx.console(`channel originate Local/620${other.sip}@trunk/n application Wait 3`);
    report.equal('trunk to trunk: the PBX reads what it presses', await keysRead(since, '5678'), true);
    const back = () => [...since().matchAll(/DTMF end '(.)' received on PJSIP\/trunk-out/g)].map(([, key]) => key).join('');
    await until('keys come back', () => back().length === 4).catch(() => {});
    report.equal('and the calling side hears those of the called side', back(), '5678');
    report.check('all of it before the answer', !/PJSIP\/trunk-out-\w+ answered/.test(since().split(/DTMF end '8' received on PJSIP\/trunk-out/)[0]));
    await pbx.hangsUp();
  } finally {
    await other.stop();
  }
}

async function keysByInfo(ctx) {
  const { report, variant } = ctx;
  console.log('  -- the same by INFO');
  const { client, stop } = await variant({ name: 'early-info', user: 'trunk-info', password: 'trunk-info-pw', inbound: 'inbound = "off"\ndtmf = "info"' });
  try {
    const since = await readBeforeTheAnswer(ctx, client, 'INFO');
    report.equal('INFO: each key once and in order', [...since().matchAll(/^Signal=(.)/gm)].map(([, key]) => key).join(''), '12341234');
    report.check('INFO: no description names telephone-events', !/telephone-event/.test(since()));
  } finally {
    await stop();
  }
}

async function keysAtThePage({ report, browser, pbx, api, account }) {
  console.log('  -- at the call page');
  const client = api(account('anna'));
  const page = await browser.callPage(client);
  const since = pbx.mark();
  await page.fill('#number', '619');
  await page.keyboard.press('Enter');
  await until('the page lets keys be pressed', () => page.locator('#keys').isEnabled());
  await page.click('#keys');
  await page.keyboard.type('4321', { delay: 50 });
  report.equal('the PBX reads what is pressed there', await keysRead(since, '4321'), true);
  await page.locator('#idle').waitFor({ state: 'visible', timeout: 15_000 });
  await page.close();
}

/** A browser that is rung may have its media before it answers; its microphone is nobody's until then, nor is the caller's. */
async function quietUntilAnswered({ report, api, browser, account }) {
  const [caller, called] = [api(account('bert')), api(account('anna'))];
  const listener = new Listener(called);
  await listener.opened;
  const callID = await caller.make('1001');
  const { call } = await listener.next('call.incoming');
  const pages = [];
  for (const [client, id] of [[caller, callID], [called, call.callID]]) {
    const page = await browser.page();
    await browser.attach(page, { api: client.base, token: client.token, callID: id });
    pages.push(page);
  }
  const packets = async (page) => (await page.evaluate(() => window.statistics())).received;
  await until('both browsers get packets', async () => (await packets(pages[0])) > 20 && (await packets(pages[1])) > 20);
  const levels = () => Promise.all(pages.map(async (page) => (await page.evaluate(() => window.hear(1.6))).level)); // twice the microphone's period
  report.equal('it rings', (await caller.status(callID)).state, 'ringing');
  const before = await levels();
  report.check('while it rings neither hears the other', before.every((level) => level < -60), before.map((level) => level.toFixed(1)).join(' '));
  report.equal('answered', (await called.ask('POST', '/call/answer', { callID: call.callID })).status, 200);
  const after = await until('both hear the other', async () => {
    const heard = await levels();
    return heard.every((level) => level > -40) && heard;
  });
  report.check('after the answer each hears the other', after.every((level) => level > -40), after.map((level) => level.toFixed(1)).join(' '));
  await caller.hangup(callID);
  await listener.next('call.ended', call.callID);
  await listener.stop();
  for (const page of pages) await page.close();
}
