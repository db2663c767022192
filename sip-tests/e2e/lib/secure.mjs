// Calls by a trunk whose media is encrypted, in each direction and over a hold; the PBX says of each whether it was.
import { calledByPbx, toneInBrowser, toneInPbx } from './tones.mjs';
import { sleep, until } from './process.mjs';
import { Listener } from './sipedge.mjs';

/** A sipedge whose trunk is the PBX's endpoint of that name, known there by its user and here by the address. */
export function trunkOf(ctx, endpoint, more = {}) {
  const from = 'from = "account.anna"\n'; // its own calls do not go back to it
  return ctx.variant({ name: endpoint, user: endpoint, password: `${endpoint}-pw`, inbound: '', from, ...more });
}

/** The endpoint calls 1001 here; who answers hears extension `service`. */
export const dials = (pbx, endpoint, port, service = '602') =>
  pbx.console(`channel originate PJSIP/${endpoint}/sip:1001@127.0.0.1:${port} extension ${service}@services`);

/** Calls both ways with audio both ways, and a hold of each; `secure` is what the PBX must say of all, `called` is the codec of its own. */
export async function calls(ctx, { endpoint, secure, codecs = ['PCMU'], codec = 'pcmu', called = codec, media, holds = true, dial = dials }) {
  const { report, pbx, tone } = ctx;
  const { client, browser, sip, sipedge, stop } = await trunkOf(ctx, endpoint, { media, codecs });
  const is = (what, figures) => report.equal(`${what}: encrypted, says the PBX`, figures.secure, secure);
  const world = { report, client, browser, pbx, tone };
  try {
    is('tone of the PBX', await toneInBrowser({ ...world, codec, trunk: endpoint }));
    is('microphone', await toneInPbx(world));
    const since = await calledByPbx({ ...world, what: 'called', call: () => dial(pbx, endpoint, sip) });
    is('called', await pbx.callEnd(since));
    report.equal('called: codec', since().match(/SIP\/2.0 200 OK[^]*?CSeq: \d+ INVITE[^]*?a=rtpmap:\d+ (\w+)/)?.[1].toLowerCase(), called);
    if (!holds) return;
    await early(ctx, { client, browser });
    is('held', await held(ctx, { client, browser, call: () => client.make('600') }));
    is('called and held', await held(ctx, { client, browser, call: () => taken(client, () => dial(pbx, endpoint, sip, '600')) }));
  } catch (error) {
    console.log(sipedge.output.slice(-3000));
    throw error;
  } finally {
    await stop();
  }
}

/** A call that the PBX does not answer, and speaks in. */
async function early({ report }, { client, browser }) {
  const callID = await client.make('618');
  const page = await browser.page();
  await browser.attach(page, { api: client.base, token: client.token, callID });
  const level = await until('early media', async () => {
    const { level } = await page.evaluate(() => window.hear(0.4));
    return level > -40 && level;
  });
  report.check('early media is heard', level > -40, `${level.toFixed(1)} dBFS`);
  report.equal('before any answer', (await client.status(callID)).answeredAt, null);
  await client.hangup(callID);
  await page.close();
}

/** The call that the PBX makes, answered. */
async function taken(client, call) {
  const listener = new Listener(client);
  await listener.opened;
  await call();
  const { callID } = (await listener.next('call.incoming')).call;
  await client.ask('POST', '/call/answer', { callID });
  await listener.stop();
  return callID;
}

/** The browser holds a call with the PBX's echo and takes it back: its own tone comes back before and after. Gives the PBX's figures. */
async function held({ report, pbx, tone }, { client, browser, call }) {
  const since = pbx.mark();
  const callID = await call();
  const page = await browser.page();
  await browser.attach(page, { api: client.base, token: client.token, callID });
  const echo = async (what) => {
    const heard = await until(`${what}: the echo`, async () => {
      const { hertz, level } = await page.evaluate(() => window.hear(0.8));
      return level > -40 && Math.abs(hertz - tone.hertz) < tone.hertz / 100 && { hertz, level };
    }, 8_000);
    report.near(`${what}: frequency of the echo`, heard.hertz, tone.hertz, tone.hertz / 100, 'Hz');
  };
  await echo('before the hold');
  const hold = await client.ask('POST', '/call/hold', { callID });
  report.equal('holds', hold.status, 200);
  await sleep(1_500);
  const { level } = await page.evaluate(() => window.hear(0.8));
  report.check('on hold nothing is heard', level < -60, `${level.toFixed(1)} dBFS`);
  report.equal('takes back', (await client.ask('POST', '/call/resume', { callID })).status, 200);
  await echo('after the hold');
  await client.hangup(callID);
  await page.close();
  return pbx.callEnd(since);
}
