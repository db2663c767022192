// Transfers while the second call still rings (semi-attended): to a call of the PBX's to us, and within Asterisk. Who stays is
// never without sound, who rings is not rung anew, and the two that are left hear each other.
import path from 'node:path';
import { Browser } from '../lib/browser.mjs';
import { GAP_MS, hears, list, noGap, quiet } from '../lib/hearing.mjs';
import { Pbx } from '../lib/pbx.mjs';
import { Phone } from '../lib/phone.mjs';
import { sleep, until } from '../lib/process.mjs';
import { Api, Listener, Sipedge, configuration } from '../lib/sipedge.mjs';
import { bursts } from '../lib/signal.mjs';
import { writeWav } from '../lib/wav.mjs';

export const name = 'transfers to who still rings';
export const alone = true;

const PARTY_HERTZ = 880;
const ANNA_HERTZ = 600;
const BERT_HERTZ = 740;
/** The ringing tone of the PBX (`conf/indications.conf`): a second of five. */
const RING_HERTZ = [440, 480];

export async function run(ctx) {
  const { binary, home, out, program, started } = ctx;
  const pbx = started(new Pbx({ home, name: 'ringing', ports: 26360, peer: 26300 }));
  await pbx.start();
  const phone = started(await Phone.start({ hertz: PARTY_HERTZ }));
  const [anna, bert] = await Promise.all([[ANNA_HERTZ, 'anna'], [BERT_HERTZ, 'bert']].map(async ([hertz, who]) => {
    const microphone = path.join(out, `${who}.wav`);
    writeWav(microphone, bursts(48_000, 8, hertz, 0.25, 9, 0), 48_000);
    const browser = started(await Browser.start({ microphone, program }));
    return { hertz, browser, client: new Api('http://127.0.0.1:21960', `${who}-token-0123456789`) };
  }));
  const desk = `
[trunk.desk]
host = "${phone.address}"

[[route]]
number = "700"
to = "trunk.desk"
last = true
`;
  const config = configuration({
    http: 21960, sip: 26300, webrtc: 27960, rtp: 47400, host: `${pbx.host}:${pbx.sipPort}`, from: 'from = "account.anna"\n', routes: desk,
    origin: `${anna.browser.origin}", "${bert.browser.origin}`,
  });
  const sipedge = started(new Sipedge({ binary, out, name: 'ringing', config }));
  await sipedge.start();
  const world = { ...ctx, pbx, phone, anna, bert, sipedge };
  await direct(world);
  await declined(world);
  await leaves(world);
  await insideAsterisk(world);
}

async function attach({ browser, client }, callID) {
  const page = await browser.page();
  await browser.attach(page, { api: client.base, token: client.token, callID });
  return page;
}

/** Bert answers and attaches his browser, as the call page does; it, and the ms that it took: there is nothing of his to hear before. */
async function answers({ report, bert }, { callID }) {
  const begin = Date.now();
  report.equal('Bert answers', (await bert.client.ask('POST', '/call/answer', { callID })).status, 200);
  const page = await attach(bert, callID);
  return { page, took: Date.now() - begin };
}

/** Anna calls the telephone, which calls Bert and hands her over while he rings. */
async function handedOver(world) {
  const { report, phone, anna, bert } = world;
  const callID = await anna.client.make('700');
  await until('the call is answered', async () => (await anna.client.status(callID)).state === 'active');
  const page = await attach(anna, callID);
  await hears(world, page, 'Anna hears the telephone', PARTY_HERTZ);
  const first = phone.dialog;
  const listener = new Listener(bert.client);
  await listener.opened;
  phone.messages = '';
  const second = await phone.places('sip:1002@127.0.0.1:26300', 'desk');
  const { call: called } = await listener.next('call.incoming');
  phone.takes(first);
  report.equal('202 to the REFER', await phone.refers('sip:1002@127.0.0.1:26300', second), 202);
  await until('its INVITE is over', () => second.status >= 300);
  report.equal('its INVITE ends with', second.status, 480);
  await until('it is told that it rings', () => /SIP\/2.0 180 Ringing/.test(phone.messages.split('NOTIFY').slice(2).join()));
  return { callID, page, called, listener };
}

/** The telephone is the PBX itself: it is us who join the two. */
async function direct(world) {
  const { report, phone, anna, bert } = world;
  console.log('  -- REFER of a telephone to its call that rings here');
  const { callID, page, called, listener } = await handedOver(world);
  report.equal('Bert rings on', (await bert.client.status(called.callID)).state, 'incoming');
  await sleep(2_000);
  await hears(world, page, 'Anna hears the telephone while it rings', PARTY_HERTZ);
  const { page: berts, took } = await answers(world, called);
  await until('BYE for the telephone', () => !phone.dialog);
  report.check('it is told that it is done', /terminated;reason=noresource[^]*?SIP\/2.0 200 OK/.test(phone.messages));
  await sleep(1_000);
  await noGap(world, page, 'Anna', [PARTY_HERTZ, BERT_HERTZ], took + GAP_MS);
  await hears(world, page, 'Anna hears Bert', BERT_HERTZ);
  await hears(world, berts, 'Bert hears Anna', ANNA_HERTZ);
  report.equal('nobody was offered anything for it', (phone.messages.match(/^INVITE /gm) ?? []).length, 0);
  report.equal('Anna has one call', (await list(anna.client)).length, 1);
  report.equal('Bert has one call', (await list(bert.client)).length, 1);
  await anna.client.hangup(callID);
  report.equal('Bert is told of the end', (await listener.next('call.ended', called.callID)).call.endReason, 'remote_ended');
  await over(world, [page, berts], listener);
}

/** Bert declines: Anna has the telephone as before. */
async function declined(world) {
  const { report, phone, anna, bert } = world;
  console.log('  -- the same, declined');
  const { callID, page, called, listener } = await handedOver(world);
  await bert.client.ask('POST', '/call/reject', { callID: called.callID });
  await until('the telephone is told so', () => /terminated;reason=noresource[^]*?SIP\/2.0 (603|486|480)/.test(phone.messages));
  await hears(world, page, 'Anna hears the telephone on', PARTY_HERTZ);
  report.equal('Anna has her call', (await anna.client.status(callID)).state, 'active');
  await anna.client.hangup(callID);
  await over(world, [page], listener);
}

/** Anna does not wait: Bert rings no more. */
async function leaves(world) {
  const { report, anna } = world;
  console.log('  -- the same, and who is handed over hangs up');
  const { callID, page, called, listener } = await handedOver(world);
  await anna.client.hangup(callID);
  const ended = await listener.next('call.ended', called.callID, 3_000);
  report.check('Bert rings no more', ended.call.endReason !== 'failed', ended.call.endReason);
  await over(world, [page], listener);
}

/** A telephone of Asterisk's has Bert rung through it, and hands Anna over. Asterisk joins the two: we see a party change. */
async function insideAsterisk(world) {
  const { report, phone, pbx, anna, bert } = world;
  console.log('  -- within Asterisk');
  const listeners = [anna, bert].map(({ client }) => new Listener(client));
  const [annas, berts] = listeners;
  await Promise.all([annas.opened, berts.opened]);
  await pbx.console(`channel originate PJSIP/holder/sip:phone@${phone.address} extension 81001@out`);
  const { callID } = (await annas.next('call.incoming')).call;
  await anna.client.ask('POST', '/call/answer', { callID });
  const page = await attach(anna, callID);
  await hears(world, page, 'Anna hears the telephone', PARTY_HERTZ);
  const first = phone.dialog;
  phone.messages = '';
  const second = await phone.places(`sip:81002@127.0.0.1:${pbx.sipPort}`, 'holder');
  const { call: called } = await berts.next('call.incoming');
  phone.takes(first);
  report.equal('Asterisk accepts the REFER', await phone.refers(`sip:81002@127.0.0.1:${pbx.sipPort}`, second), 202);
  await until('the second call of the telephone is over', () => second.status >= 300);
  report.equal('Bert rings on', (await bert.client.status(called.callID)).state, 'incoming');
  await sleep(1_000);
  const rings = (await page.evaluate(() => window.hearEach(2, 0.2))).filter(({ hertz }) => RING_HERTZ.some((ring) => Math.abs(hertz - ring) < 10));
  report.check('Anna hears the ringing tone of Asterisk', rings.length > 1, `${rings.length} times 200 ms`);
  const { page: other } = await answers(world, called);
  await until('the telephone is told', () => /SIP\/2.0 200 OK/.test(phone.messages.split('NOTIFY').slice(1).join()));
  await phone.hangsUp();
  await sleep(1_000);
  await hears(world, page, 'Anna hears Bert', BERT_HERTZ);
  await hears(world, other, 'Bert hears Anna', ANNA_HERTZ);
  report.equal('Anna has one call', (await list(anna.client)).length, 1);
  report.equal('Bert has one call', (await list(bert.client)).length, 1);
  await bert.client.hangup(called.callID);
  report.equal('Anna is told of the end', (await annas.next('call.ended', callID)).call.endReason, 'remote_ended');
  await annas.stop();
  await over(world, [page, other], listeners[1]);
}

/** Nothing is left of it anywhere. */
async function over(world, pages, listener) {
  const { report, phone, pbx, anna, bert } = world;
  await until('no call is left', async () => (await Promise.all([anna, bert].map(({ client }) => list(client)))).every((calls) => calls.length === 0));
  await until('the telephone has none', () => !phone.dialog || !phone.fars.has(phone.dialog.id));
  await quiet(pbx);
  report.check('no call is left behind', true);
  await listener.stop();
  for (const page of pages) await page.close();
}
