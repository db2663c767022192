// The PBX registers at sipedge and is called where it registered; it goes and comes back, and so does the binding.
import { Browser } from '../lib/browser.mjs';
import { Pbx } from '../lib/pbx.mjs';
import { until } from '../lib/process.mjs';
import { Api, Sipedge, configuration } from '../lib/sipedge.mjs';
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
}
