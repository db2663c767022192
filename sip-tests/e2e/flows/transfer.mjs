// The PBX hands a browser over: with REFER to a number, and to another call, so that two browsers are left. Who stays
// hears one party until it hears the other.
import path from 'node:path';
import { TONE_HERTZ, hears, list, noGap, quiet } from '../lib/hearing.mjs';
import { Phone } from '../lib/phone.mjs';
import { sleep, until } from '../lib/process.mjs';
import { Api, Listener } from '../lib/sipedge.mjs';
import { bursts } from '../lib/signal.mjs';
import { writeWav } from '../lib/wav.mjs';

export const name = 'transfers by the PBX';

const PARTY_HERTZ = 880;
const STEADY_HERTZ = 600;

export async function run(ctx) {
  await ofAsterisk(ctx);
  await insideAsterisk(ctx);
  await connectedLine(ctx);
  await blind(ctx);
  await attended(ctx);
}

/** Extension 615 of Asterisk answers, and a second later has its caller call 600, the echo. It says nothing meanwhile. */
async function ofAsterisk(ctx) {
  const { report, api, browser, pbx, account, tone } = ctx;
  console.log('  -- REFER of Asterisk: 615 hands over to 600');
  const client = api(account('anna'));
  const since = pbx.mark();
  const callID = await client.make('615');
  await until('the call is answered', async () => (await client.status(callID)).state === 'active');
  const page = await browser.page();
  await browser.attach(page, { api: client.base, token: client.token, callID });
  await until('REFER of the PBX', () => /^REFER sip:/m.test(since()));
  await until('the PBX is told that it is done', () => /Subscription-State: terminated[^]*?SIP\/2.0 200 OK/.test(since()));
  report.check('202 to the REFER', /^SIP\/2.0 202 Accepted/m.test(since()));
  await until('the leg to 615 ends', () => /^BYE sip:/m.test(since()));
  report.check('the leg to 615 ends', true);
  await hears(ctx, page, 'the own tone comes back from the echo', tone.hertz);
  report.equal('the call goes on as the same', (await client.status(callID)).state, 'active');
  report.equal('one call is left', (await list(client)).length, 1);
  await until('one channel is left at Asterisk', async () => /^1 active channel/m.test(await pbx.console('core show channels count')));
  report.check('it is the echo', /Echo/.test(await pbx.console('core show channels')));
  await client.hangup(callID);
  await quiet(pbx);
  await page.close();
}

/** A telephone of Asterisk's talks to the browser and hands it over to a number: Asterisk does it in itself. */
async function insideAsterisk(ctx) {
  const { report, api, browser, pbx, account, started } = ctx;
  console.log('  -- within Asterisk: a telephone hands the browser over to the tone');
  const phone = started(await Phone.start({ hertz: PARTY_HERTZ }));
  const client = api(account('anna'));
  const listener = new Listener(client);
  await listener.opened;
  await pbx.console(`channel originate PJSIP/holder/sip:phone@${phone.address} extension 81001@out`);
  const { callID } = (await listener.next('call.incoming')).call;
  await client.ask('POST', '/call/answer', { callID });
  const page = await browser.page();
  await browser.attach(page, { api: client.base, token: client.token, callID });
  await hears(ctx, page, 'the telephone', PARTY_HERTZ);
  const before = await client.status(callID);
  report.equal('Asterisk accepts the REFER of its telephone', await phone.refers(`sip:622@127.0.0.1:${pbx.sipPort}`), 202);
  await hears(ctx, page, 'the tone of 622 after it', TONE_HERTZ);
  const now = await until('the API shows who is there now', async () => {
    const call = await client.status(callID);
    return call.displayName === 'Tone' && call;
  });
  report.equal('the number, too, and who called stays', `${now.peer} ${now.from}`, `622 ${before.from}`);
  report.check('by an event', await listener.next('call.state', callID).then(async (event) => event.call.displayName === 'Tone' || (await listener.next('call.state', callID)).call.displayName === 'Tone'));
  report.equal('one call is left', (await list(client)).length, 1);
  report.check('and one channel', await until('one channel', async () => /^1 active channel/m.test(await pbx.console('core show channels count'))));
  await client.hangup(callID);
  await quiet(pbx);
  await page.close();
  await listener.stop();
}

/** Who answers is another one than was called, and then another one again. */
async function connectedLine({ report, api, browser, pbx, account, variant }) {
  console.log('  -- connected line: 621 is somebody else');
  const client = api(account('anna'));
  const page = await browser.callPage(client);
  const listener = new Listener(client);
  await listener.opened;
  await page.fill('#number', '621');
  await page.keyboard.press('Enter');
  const shown = [];
  const seen = [];
  const look = async () => {
    for (const { call } of listener.events.splice(0).filter((e) => e.event === 'call.state' && e.call.state === 'active')) seen.push(`${call.displayName} ${call.peer} ${call.to}`);
    const name = await page.locator('#talking-who').textContent();
    if (name && shown.at(-1) !== name) shown.push(name);
    return name === 'Carl' && seen.some((told) => told.startsWith('Carl')); // each has a stream of its own
  };
  await until('both names at the page and by the API', look, 10_000, 20).catch(() => {});
  report.equal('the API tells of each once', seen.join(', '), 'Anna Bell 4711 621, Carl 4712 621');
  report.equal('the page shows each', shown.filter((name) => name !== '621').join(', '), 'Anna Bell, Carl');
  await page.locator('#idle').waitFor({ state: 'visible', timeout: 15_000 });
  await page.close();
  await listener.stop();
  // from trunk to trunk: the PBX calls itself by way of sipedge
  const other = await variant({ name: 'connected-trunks' });
  try {
    const since = pbx.mark();
    await pbx.console(`channel originate PJSIP/trunk-out/sip:621@127.0.0.1:${other.sip} extension 605@services`);
    const told = await until('the calling side is told of both', () => {
      const received = since().split('<--- ').filter((message) => /^Received SIP .*\n(SIP\/2.0 200|UPDATE)/.test(message) && message.includes(`UDP:127.0.0.1:${other.sip}`));
      const names = received.flatMap((message) => message.match(/^P-Asserted-Identity: "(.*)"/m)?.[1] ?? []);
      return names.length > 1 && names;
    });
    report.equal('the calling PBX is told of each with the answer and by UPDATE', told.join(', '), 'Anna Bell, Carl');
    const isTaken = () => since().split('<--- ').some((message) => /^Transmitting SIP response .*\nSIP\/2.0 200/.test(message) && /^CSeq: \d+ UPDATE/m.test(message));
    report.check('and takes that', await until('200 to the UPDATE', isTaken));
    await pbx.hangsUp();
  } finally {
    await other.stop();
  }
}

/** A telephone that is the PBX hands the browser over to a number of Asterisk's; both sound without a break. */
async function blind(ctx) {
  const { report, variant, started, pbx } = ctx;
  console.log('  -- REFER of a telephone: from its tone to that of 602');
  const phone = started(await Phone.start({ hertz: PARTY_HERTZ }));
  const routes = `
[trunk.asterisk]
host = "127.0.0.1:${pbx.sipPort}"
user = "trunk-in"
password = "trunk-in-pw"
inbound = "off"

[[route]]
from = "trunk.pbx"
number = "60?"
to = "trunk.asterisk"
last = true
`;
  const { client, browser, stop } = await variant({ name: 'blind', host: phone.address, routes });
  try {
    const callID = await client.make('700');
    await until('the call is answered', async () => (await client.status(callID)).state === 'active');
    const page = await browser.page();
    await browser.attach(page, { api: client.base, token: client.token, callID });
    await hears(ctx, page, 'the telephone', PARTY_HERTZ);
    report.equal('a number that is busy: 202', await phone.refers('sip:607@192.0.2.99'), 202);
    await until('it is told so', () => /terminated;reason=noresource[^]*?SIP\/2.0 486 Busy Here/.test(phone.messages));
    await hears(ctx, page, 'the telephone is heard on', PARTY_HERTZ);
    report.equal('one that answers: 202', await phone.refers('sip:602@192.0.2.99'), 202);
    await until('BYE for the telephone', () => !phone.dialog);
    report.equal('the API shows the number that was called', await client.status(callID).then(({ peer, to }) => `${peer}, and not ${to}`), '602, and not 700');
    report.check('it is told that it is done', /terminated;reason=noresource[^]*?SIP\/2.0 200 OK/.test(phone.messages));
    await sleep(700);
    await noGap(ctx, page, 'from the one to the other', [PARTY_HERTZ, TONE_HERTZ]);
    await hears(ctx, page, 'the tone of 602', TONE_HERTZ);
    report.equal('one call is left', (await list(client)).length, 1);
    await client.hangup(callID);
    await quiet(pbx);
    await page.close();
  } finally {
    await stop();
  }
}

/** Two browsers have a call each to one telephone, which joins them with REFER and Replaces and is out of it. */
async function attended(ctx) {
  const { report, variant, started, out } = ctx;
  console.log('  -- attended: REFER with Replaces, two browsers are left');
  const phone = started(await Phone.start({ hertz: PARTY_HERTZ }));
  const microphone = path.join(out, 'steady.wav');
  writeWav(microphone, bursts(48_000, 8, STEADY_HERTZ, 0.25, 9, 0), 48_000);
  const { client: anna, browser, sipedge, stop } = await variant({ name: 'attended', host: phone.address, microphone });
  const bert = new Api(anna.base, 'bert-token-0123456789');
  try {
    const calls = [];
    for (const client of [anna, bert]) {
      const callID = await client.make('700');
      await until('the call is answered', async () => (await client.status(callID)).state === 'active');
      const page = await browser.page();
      await browser.attach(page, { api: client.base, token: client.token, callID });
      await hears(ctx, page, `browser ${calls.length + 1} hears the telephone`, PARTY_HERTZ);
      calls.push({ client, callID, page, dialog: phone.dialog });
      phone.parks();
    }
    const [first, second] = calls;
    phone.takes(first.dialog);
    report.equal('202 to the REFER', await phone.refers('sip:700@127.0.0.1', second.dialog), 202);
    await until('both dialogs of the telephone end', () => (phone.messages.match(/^BYE /gm) ?? []).length === 2);
    report.check('it is told that it is done', /terminated;reason=noresource[^]*?SIP\/2.0 200 OK/.test(phone.messages));
    report.equal('nobody is offered anything for it', (phone.messages.match(/^INVITE /gm) ?? []).length, 2);
    await sleep(700);
    // both at once: the time between is that of the change
    await Promise.all(calls.map(({ page }, which) => noGap(ctx, page, `browser ${which + 1}`, [PARTY_HERTZ, STEADY_HERTZ])));
    for (const [which, { client, callID, page }] of calls.entries()) {
      await hears(ctx, page, `browser ${which + 1} hears the other one`, STEADY_HERTZ);
      report.equal(`browser ${which + 1}: the call goes on`, (await client.status(callID)).state, 'active');
      report.equal(`browser ${which + 1}: it is the one call`, (await list(client)).length, 1);
      report.equal(`browser ${which + 1}: the API shows whom it talks to`, (await client.status(callID)).peer, ['bert', 'anna'][which]);
    }
    await first.client.hangup(first.callID);
    await until('the other one ends with it', async () => (await second.client.status(second.callID)).state === 'ended');
    report.equal('the other one is told so', (await second.client.status(second.callID)).endReason, 'remote_ended');
    report.check('both calls are over', await until('ends in the log', () => (sipedge.output.match(/call ended.*cause=normal/g) ?? []).length === 2));
    for (const { page } of calls) await page.close();
  } finally {
    await stop();
  }
}
