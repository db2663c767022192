// The PBX registers at sipedge and is called where it registered; it goes and comes back, and so does the binding.
import path from 'node:path';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { Browser } from '../lib/browser.mjs';
import { Pbx, examples } from '../lib/pbx.mjs';
import { until } from '../lib/process.mjs';
import { Api, Listener, Sipedge, configuration } from '../lib/sipedge.mjs';
import { calledByPbx, toneInBrowser, toneInPbx } from '../lib/tones.mjs';

export const name = 'a PBX that registers here';
// the PBX is restarted, so this flow brings one of its own
export const alone = true;

const HTTP = 21690;
const SIP = 25690;
const PBX_SIP = 25660;
const BASE = `http://127.0.0.1:${HTTP}`;

const count = (text, pattern) => (text.match(pattern) ?? []).length;

export async function run({ report, microphone, program, tone, out, binary, home, started }) {
  const pbx = started(new Pbx({ home, name: 'registrar', ports: PBX_SIP, peer: SIP }));
  const browser = started(await Browser.start({ microphone, program }));
  const client = new Api(BASE);
  const config = configuration({ http: HTTP, sip: SIP, webrtc: 27690, rtp: 44600, host: '', origin: browser.origin })
    .replace(/host = ""\nuser = .*\npassword = .*\n/, 'register = "accept"\nqualify = "1s"\n')
    // the PBX's own calls do not go back to it
    .replace('[[route]]\nto', '[[route]]\nfrom = "account.anna"\nto');
  const edge = new Sipedge({ binary, out, name: 'registrar', config });
  started({ stop: () => (edge.child.exit ? undefined : edge.stop()) });
  await edge.start();

  /** A call to the trunk fails at once. */
  const fails = async (what) => {
    const callID = await client.make('602');
    const ended = await until('its end', async () => {
      const call = await client.status(callID);
      return call.state === 'ended' && call;
    }, 2_000);
    report.equal(what, ended.endReason, 'failed');
  };
  /** The PBX calls 1001 by its trunk, is answered, and its tone is heard. */
  const called = async (what) => {
    const since = await calledByPbx({ report, client, browser, pbx, what, number: '81001' });
    report.check(`${what}: the call of the PBX was challenged`, /SIP\/2.0 401[^]*?CSeq: \d+ INVITE/.test(since()));
    await until('the PBX is quiet', async () => /^0 active channels/m.test(await pbx.console('core show channels count')));
  };
  /** Calls in both directions, and audio in both of each. */
  const calls = async (what) => {
    const since = pbx.mark();
    await toneInBrowser({ report, client, browser, pbx, codec: 'pcmu', trunk: 'trunk-out' });
    await toneInPbx({ report, client, browser, pbx, tone });
    const log = since();
    report.check(`${what}: called at the registered contact, by number`, new RegExp(`INVITE sip:602@127.0.0.1:${PBX_SIP};line=\\w+ SIP/2.0`).test(log), log.match(/INVITE sip:602.*/)?.[0]);
    report.check(`${what}: the channel has the trunk's name`, log.includes('PJSIP/trunk-out-'));
    report.equal(`${what}: no anonymous endpoint`, count(log, /PJSIP\/anonymous/g), 0);
    await called(`${what}, called`);
  };

  await fails('nobody has registered: a call fails at once');
  await pbx.start();
  await edge.child.says("the trunk's PBX registered here");
  const state = await until('the PBX knows that it is registered', async () => (await pbx.console('pjsip show registrations')).match(/trunk-out-reg.*?(Registered|Rejected)/)?.[1]);
  report.equal('the PBX says that it is', state, 'Registered');
  report.check('the REGISTER was challenged', /SIP\/2.0 401[^]*?CSeq: \d+ REGISTER/.test(pbx.log()));
  const line = edge.output.match(/.*INFO the trunk's PBX registered here.*/)?.[0] ?? '';
  report.check('the log says where it is', line.includes(`127.0.0.1:${PBX_SIP}`) && line.includes('trunk="pbx"'), line);
  await calls('registered');

  // ---- it takes its registration away, and registers again
  await pbx.console('pjsip send unregister trunk-out-reg');
  await edge.child.says("INFO the trunk's PBX took its registration away");
  await fails('unregistered: a call fails at once');
  const here = () => count(edge.output, /INFO the trunk's PBX registered here/g);
  await pbx.console('pjsip send register trunk-out-reg');
  await until('it is registered again', () => here() === 2);

  // ---- the PBX goes without a word to us, and comes back with another contact: the newest counts
  await pbx.stop();
  await edge.child.says("WARN the trunk's PBX is registered and does not answer", 15_000);
  await fails('registered and gone: a call fails at once');
  report.equal('it went without a word', count(edge.output, /took its registration away/g), 1);
  await pbx.start();
  // Asterisk lets up to 10 s pass before its first REGISTER
  await edge.child.says("INFO the trunk's PBX registered elsewhere", 15_000);
  const lines = [...edge.output.matchAll(/registered (?:here|elsewhere).*;line=(\w+)/g)].map((m) => m[1]);
  const since = pbx.mark();
  await calls('after a restart');
  report.check('after a restart: called at the new contact', lines.at(-1) !== lines[0] && since().includes(`;line=${lines.at(-1)} SIP/2.0`), lines.join(' '));
  report.check('no login was refused', !/login refused/.test(edge.output));
  await edge.stop();
  await pbx.stop();
  for (const transport of ['udp', 'tcp']) await shipped({ report, out, binary, home, started, browser, transport });
}

/** config/asterisk/registers/ and config/sipedge.toml as they are shipped, in both directions; over TCP by the change that is named there. */
async function shipped({ report, out, binary, home, started, browser, transport }) {
  const word = transport.toUpperCase();
  const also = path.join(out, 'asterisk-registers');
  mkdirSync(also, { recursive: true });
  const pjsip = readFileSync(path.join(examples, 'registers/pjsip.conf'), 'utf8');
  const places = /^((?:contact|server_uri) = sip:127.0.0.1:5080)$/gm;
  report.equal(`shipped, ${word}: where sipedge is stands twice`, count(pjsip, places), 2);
  writeFileSync(path.join(also, 'pjsip.conf'), transport === 'tcp' ? pjsip.replace(places, '$1\\;transport=tcp') : pjsip);
  copyFileSync(path.join(examples, 'extensions.conf'), path.join(also, 'extensions.conf'));
  const config = readFileSync(new URL('../../../config/sipedge.toml', import.meta.url), 'utf8');
  const own = config.replace(/host = "127.0.0.1:5060".*\n# register = "accept"/, 'register = "accept"');
  report.check(`shipped, ${word}: the line to change is there`, own !== config);
  const env = {
    SIPEDGE_HTTP__LISTEN: `127.0.0.1:${HTTP}`, SIPEDGE_HTTP__ORIGINS: browser.origin, SIPEDGE_SIP__LISTEN: '127.0.0.1:5080',
    SIPEDGE_MEDIA__WEBRTC_PORT: '27690',
  };
  const edge = new Sipedge({ binary, out, name: `registrar-shipped-${transport}`, config: own, env });
  started({ stop: () => (edge.child.exit ? undefined : edge.stop()) });
  await edge.start();
  const pbx = started(new Pbx({ home, name: 'registrar', ports: PBX_SIP, peer: SIP, also }));
  await pbx.start();
  await edge.child.says("INFO the trunk's PBX registered here", 15_000);
  report.check(`shipped, ${word}: that is how it registered`, new RegExp(`registered here.*transport="${word}"`).test(edge.output), edge.output.match(/registered here.*/)?.[0]);
  const client = new Api(BASE, 'change-this-token');
  const since = pbx.mark();
  const callID = await client.make('602');
  const page = await browser.page();
  await browser.attach(page, { api: BASE, token: client.token, callID });
  await until('active', async () => (await client.status(callID)).state === 'active');
  report.near(`shipped, ${word}: frequency`, (await page.evaluate(() => window.hear(1))).hertz, 1004, 10.04, 'Hz');
  await client.hangup(callID);
  await until('the PBX names its channel', () => /PJSIP\/sipedge-[0-9a-f]+/.test(since()));
  report.check(`shipped, ${word}: and is called`, since().includes(`SIP/2.0/${word} 127.0.0.1:5080`), since().match(/INVITE sip:602.*/)?.[0]);
  report.check(`shipped, ${word}: the PBX challenged sipedge`, /Authorization: Digest username="sipedge"/.test(since()));
  report.equal(`shipped, ${word}: no anonymous endpoint`, count(since(), /PJSIP\/anonymous/g), 0);
  await page.close();
  const listener = new Listener(client);
  await listener.opened;
  await pbx.console('channel originate Local/1001@to-sipedge/n extension 602@from-sipedge');
  const { call } = await listener.next('call.incoming');
  report.equal(`shipped, ${word}: Dial(PJSIP/1001@sipedge) rings`, `${call.direction} ${call.to}`, 'inbound 1001');
  await client.ask('POST', '/call/answer', { callID: call.callID });
  const called = await browser.page();
  await browser.attach(called, { api: BASE, token: client.token, callID: call.callID });
  report.near(`shipped, ${word}: frequency of a call of the PBX`, (await called.evaluate(() => window.hear(1))).hertz, 1004, 10.04, 'Hz');
  await client.hangup(call.callID);
  await listener.next('call.ended', call.callID);
  await listener.stop();
  await called.close();
  await edge.stop();
  await pbx.stop();
}
