// The PBX calls a browser: with digest over its trunk, and every way in which such a call can go.
import { hear } from '../lib/demo.mjs';
import { TONE_HERTZ, hears } from '../lib/hearing.mjs';
import { sleep, until } from '../lib/process.mjs';
import { Listener } from '../lib/sipedge.mjs';
import { isShown, says, talks, text } from '../lib/person.mjs';
import { strongest } from '../lib/signal.mjs';
import { readWav } from '../lib/wav.mjs';

export const name = 'calls of the PBX';

export async function run({ report, api, browser, pbx, account, tone }) {
  const client = api(account('anna'));
  const listener = new Listener(client);
  await listener.opened;
  const incoming = async () => (await listener.next('call.incoming')).call;
  const answer = (callID) => client.ask('POST', '/call/answer', { callID });
  const ended = async (callID) => (await listener.next('call.ended', callID)).call.endReason;
  const quiet = () => until('the PBX is quiet', async () => /^0 active channels/m.test(await pbx.console('core show channels count')));

  // ---- rings, answered, tone heard, hung up by the browser's side
  let since = pbx.mark();
  await pbx.calls('81001', '602');
  const first = await incoming();
  report.equal('the call as it is announced', `${first.direction} ${first.state} ${first.to}`, 'inbound incoming 1001');
  await until('180 at the PBX', () => /SIP\/2.0 180/.test(since()));
  report.check('the INVITE was challenged', /SIP\/2.0 401[^]*?WWW-Authenticate: Digest[^\n]*SHA-256/i.test(since()));
  const answered = await answer(first.callID);
  report.equal('answered', `${answered.status} ${answered.json.call?.state}`, '200 active');
  const page = await browser.page();
  await browser.attach(page, { api: client.base, token: client.token, callID: first.callID });
  await hears({ report }, page, 'tone of the PBX in the browser', TONE_HERTZ, { seconds: 2, pure: true });

  // ---- hold and resume by the browser's side: offered to the PBX, nothing heard meanwhile
  const held = await client.ask('POST', '/call/hold', { callID: first.callID });
  report.equal('on hold', held.json.call?.state, 'on_hold');
  await until('sendonly at the PBX', () => /a=sendonly/.test(since()));
  await until('the PBX plays music to its party', () => /Started music on hold/.test(since()));
  await sleep(300);
  const silence = await page.evaluate(() => window.hear(1));
  report.check('on hold the browser hears nothing', silence.level < -40, `${silence.level.toFixed(1)} dBFS`);
  const resumed = await client.ask('POST', '/call/resume', { callID: first.callID });
  report.equal('resumed', resumed.json.call?.state, 'active');
  await until('the PBX stops its music', () => /Stopped music on hold/.test(since()));
  await sleep(300);
  await hears({ report }, page, 'tone after the hold', TONE_HERTZ);

  since = pbx.mark();
  await client.hangup(first.callID);
  report.equal('hung up here', await ended(first.callID), 'user_ended');
  await until('BYE at the PBX', () => /BYE sip:/.test(since()));
  await page.close();
  await quiet();

  // ---- the microphone in a recording of the PBX, hung up by the PBX
  const before = new Set(pbx.recordings());
  await pbx.calls('81001', '612');
  const recorded = await incoming();
  await answer(recorded.callID);
  const speaking = await browser.page();
  await browser.attach(speaking, { api: client.base, token: client.token, callID: recorded.callID });
  await sleep(2500);
  await pbx.hangsUp();
  report.equal('hung up by the PBX', await ended(recorded.callID), 'remote_ended');
  await speaking.close();
  await quiet();
  const file = await until('a recording', () => pbx.recordings().find((f) => !before.has(f)));
  const { rate, samples } = readWav(file);
  report.near('frequency in the recording', strongest(samples, rate).hertz, tone.hertz, tone.hertz / 100, 'Hz');

  // ---- keys both ways: the PBX reads four and sends them back
  since = pbx.mark();
  await pbx.calls('81001', '603');
  const keys = await incoming();
  await answer(keys.callID);
  const typing = await browser.page();
  await browser.attach(typing, { api: client.base, token: client.token, callID: keys.callID });
  await sleep(500);
  await client.ask('POST', '/call/dtmf', { callID: keys.callID, digits: '12*9', duration: 100 });
  const back = [];
  while (back.length < 4) back.push((await listener.next('call.dtmf', keys.callID, 15_000)).digit);
  report.equal('keys that came back', back.join(''), '12*9');
  report.equal('ended by the PBX', await ended(keys.callID), 'remote_ended');
  report.equal('each key once', listener.events.filter((e) => e.event === 'call.dtmf').length, 0);
  await typing.close();
  await quiet();

  // ---- refused
  for (const [reason, status, word] of [['busy', 486, 'busy'], [undefined, 603, 'declined']]) {
    since = pbx.mark();
    await pbx.calls('81001');
    const { callID } = await incoming();
    const rejected = await client.ask('POST', '/call/reject', { callID, ...(reason ? { reason } : {}) });
    report.equal(`rejected ${word}: answer`, rejected.status, 200);
    await until(`${status} at the PBX`, () => since().includes(`SIP/2.0 ${status}`));
    report.check(`rejected ${word}: Reason with its cause`, /Reason: Q.850;cause=(17|21)/.test(since()));
    await listener.next('call.ended', callID);
    await quiet();
  }

  // ---- given up by the PBX while it rings
  await pbx.calls('81001');
  const cancelled = await incoming();
  await pbx.hangsUp();
  report.equal('given up while ringing', await ended(cancelled.callID), 'cancelled');
  const late = await answer(cancelled.callID);
  report.equal('an answer after that', `${late.status} ${late.json.error}`, '404 call not found');
  await quiet();

  // ---- nobody answers, nobody is there, no such number
  since = pbx.mark();
  await pbx.calls('81003');
  const unanswered = await incoming();
  report.equal('nobody answers', await ended(unanswered.callID), 'timeout');
  await until('480 at the PBX', () => since().includes('SIP/2.0 480'));
  await quiet();
  for (const [number, status, what] of [['81002', 480, 'an account that nothing rings for'], ['81999', 404, 'no such number']]) {
    since = pbx.mark();
    await pbx.calls(number);
    await until(`${status}: ${what}`, () => since().includes(`SIP/2.0 ${status}`));
    report.check(what, true, `${status}`);
    await quiet();
  }
  await listener.stop();
  await atTheCallPage({ report, client, browser, pbx, tone, quiet });
}

/** Dial(PJSIP/…@sipedge) rings the call page, where somebody answers it. */
async function atTheCallPage({ report, client, browser, pbx, tone, quiet }) {
  console.log('  -- at the call page');
  const page = await browser.callPage(client);
  const rings = async (extension) => {
    await pbx.calls('81001', extension);
    await isShown(page, 'ringing');
  };
  let since = pbx.mark();
  await rings('602');
  report.check('the page says who calls', (await text(page, 'ringing-who')).trim() !== '', await text(page, 'ringing-who'));
  await page.click('#answer');
  await talks(page);
  const heard = await hear(page, 2);
  report.near('tone of the PBX at the page', heard.hertz, TONE_HERTZ, TONE_HERTZ / 100, 'Hz');
  await page.click('#hang-up');
  await isShown(page, 'idle');
  await until('BYE at the PBX', () => /BYE sip:/.test(since()));
  report.check('hung up at the page: the PBX hears BYE', true);
  await quiet();

  const before = new Set(pbx.recordings());
  await rings('612');
  await page.click('#answer');
  await talks(page);
  await sleep(2500);
  await pbx.hangsUp();
  await says(page, 'status', /hung up/);
  await quiet();
  const file = await until('a recording', () => pbx.recordings().find((f) => !before.has(f)));
  const { rate, samples } = readWav(file);
  report.near('what is said at the page, in the recording of the PBX', strongest(samples, rate).hertz, tone.hertz, tone.hertz / 100, 'Hz');

  since = pbx.mark();
  await rings('602');
  await page.click('#decline');
  await until('603 at the PBX', () => since().includes('SIP/2.0 603'));
  report.check('declined at the page', true, '603');
  await quiet();

  await rings('602');
  await pbx.hangsUp();
  await isShown(page, 'idle');
  await quiet();
  await page.close();
}
