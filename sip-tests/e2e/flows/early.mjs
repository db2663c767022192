// A browser attached before the answer hears early media, and is connected when the answer comes.
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
    await dials(pbx, 'trunk-in', sip, '600');
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
