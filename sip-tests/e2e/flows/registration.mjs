// sipedge registers at the PBX and is called at what it registered; the PBX goes and comes back, and so does the binding.
import path from 'node:path';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Browser } from '../lib/browser.mjs';
import { Pbx } from '../lib/pbx.mjs';
import { until } from '../lib/process.mjs';
import { Api, Sipedge, configuration } from '../lib/sipedge.mjs';
import { calledByPbx, toneInBrowser } from '../lib/tones.mjs';

export const name = 'registration at the PBX';
// the PBX is restarted, so this flow brings one of its own
export const alone = true;

const HTTP = 21390;
const SIP = 25290;
const PBX_SIP = 25260;
const BASE = `http://127.0.0.1:${HTTP}`;

const count = (text, pattern) => (text.match(pattern) ?? []).length;

export async function run({ report, microphone, program, out, binary, home, started }) {
  const pbx = started(new Pbx({ home, name: 'reg', ports: PBX_SIP, peer: SIP }));
  const browser = started(await Browser.start({ microphone, program }));
  const client = new Api(BASE);
  const contacts = async () => [...(await pbx.console('pjsip show contacts')).matchAll(/Contact:\s+trunk-in\/(\S+)/g)].map((m) => m[1]);
  const quiet = () => until('the PBX is quiet', async () => /^0 active channels/m.test(await pbx.console('core show channels count')));

  const sipedge = async (title, trunk, inbound, password) => {
    const config = configuration({
      http: HTTP, sip: SIP, webrtc: 27190, rtp: 44000, host: `127.0.0.1:${PBX_SIP}`, origin: browser.origin, inbound: `${inbound}\n${trunk}`,
      ...(password && { password }),
    });
    // the PBX's own calls do not go back to it
    const own = config.replace('[[route]]\nto', '[[route]]\nfrom = "account.anna"\nto');
    const edge = new Sipedge({ binary, out, name: `registration-${title}`, config: own });
    // a failed flow leaves it running otherwise
    started({ stop: () => (edge.child.exit ? undefined : edge.stop()) });
    await edge.start();
    return edge;
  };

  /** The PBX calls 1001 by `prefix`, is answered, and its tone is heard; gives what the PBX logged. */
  const called = async (what, prefix) => {
    const since = await calledByPbx({ report, client, browser, pbx, what, number: `${prefix}1001` });
    await quiet();
    return since();
  };

  /** The PBX knows the trunk by its name, and nobody as a stranger. */
  const isByTrunk = (what, log, trunk = 'trunk-in') => {
    report.check(`${what}: the channel has the trunk's name`, log.includes(`PJSIP/${trunk}-`), log.match(new RegExp(`PJSIP/${trunk}-\\w+`))?.[0]);
    report.equal(`${what}: no anonymous endpoint`, count(log, /PJSIP\/anonymous/g), 0);
  };

  const logsIn = 'inbound_user = "trunk-in"\ninbound_password = "trunk-in-pw"';
  for (const [transport, more] of [['udp', ''], ['tcp', '\ntransport = "tcp"']]) {
    const word = transport.toUpperCase();
    await pbx.start();
    let since = pbx.mark();
    const edge = await sipedge(transport, `register = true\nqualify = "1s"${more}`, logsIn);
    await edge.child.says("INFO registered at the trunk's PBX");
    await until('a contact at the PBX', async () => (await contacts()).length);
    const parameter = transport === 'tcp' ? ';transport=tcp' : '';
    const bound = `sip:trunk-in@127.0.0.1:${SIP}${parameter}`;
    const [shown, ...others] = await contacts();
    // the console cuts long ones off; the whole of it comes back in the Request-URI of a call
    report.check(`${word}: the binding at the PBX`, !others.length && bound.startsWith(shown) && shown.length >= 28, shown);
    report.check(`${word}: REGISTER was challenged`, new RegExp(`401 Unauthorized[^]*?SIP/2.0/${word}[^]*?REGISTER`).test(since()));

    let log = await called(`${word}, called`, 9);
    isByTrunk(`${word}, called`, log);
    report.check(`${word}: called at the registered contact`, log.includes(`INVITE sip:1001@127.0.0.1:${SIP}${parameter} SIP/2.0`));
    report.check(`${word}: the call of the PBX was challenged`, /SIP\/2.0 401[^]*?WWW-Authenticate: Digest/i.test(log));
    since = pbx.mark();
    await toneInBrowser({ report, client, browser, pbx, codec: 'pcmu' });
    isByTrunk(`${word}, calls`, since());

    // ---- the PBX goes, and comes back without a memory of us
    await pbx.stop();
    await edge.child.says('the trunk is down', 15_000);
    const refused = await client.make('602');
    report.equal(`${word}: a call while it is down`, (await until('its end', async () => {
      const call = await client.status(refused);
      return call.state === 'ended' && call;
    }, 2_000)).endReason, 'failed');
    rmSync(path.join(pbx.run, 'lib/astdb.sqlite3'), { force: true });
    const begin = Date.now();
    await pbx.start();
    await until('a contact at the PBX', async () => (await contacts()).length, 15_000);
    const took = (Date.now() - begin) / 1000;
    report.check(`${word}: registered again within 10 s of its start`, took < 10, `${took.toFixed(1)} s`);
    await edge.child.says('the trunk is up again');
    report.equal(`${word}: it was down once`, count(edge.output, /the trunk is down/g), 1);
    isByTrunk(`${word}, called again`, await called(`${word}, called again`, 9));
    since = pbx.mark();
    await toneInBrowser({ report, client, browser, pbx, codec: 'pcmu' });
    isByTrunk(`${word}, calls again`, since());

    // ---- told to end: nobody is called where nobody is
    await edge.stop();
    report.equal(`${word}: the binding is gone`, (await contacts()).join(), '');
    report.check(`${word}: and the log says so`, /no longer registered at the trunk's PBX/.test(edge.output));
    await pbx.stop();
  }

  // ---- a wrong password: told once, and not tried again at once: who counts refusals shuts nobody out; the PBX calls where
  // it always called
  await pbx.start();
  const since = pbx.mark();
  const edge = await sipedge('wrong', 'register = true', 'inbound_user = "pbx"\ninbound_password = "pbx-pw"', 'not-the-password');
  const failed = /not registered at the trunk's PBX/g;
  await edge.child.says("WARN not registered at the trunk's PBX");
  report.check('a wrong password: the line says why', /WARN.*not registered at the trunk's PBX.*trunk=.*(password|refused|credentials)/.test(edge.output), edge.output.match(/.*not registered.*/)?.[0]);
  report.equal('a wrong password: no binding', (await contacts()).join(), '');
  isByTrunk('a wrong password, called', await called('a wrong password, called', 8), 'trunk-out');
  const attempts = () => count(since(), /\nREGISTER sip:127[^]*?\nAuthorization: Digest username="trunk-in"/g);
  report.equal('a wrong password: one attempt in the time of a call', attempts(), 1);
  report.equal('a wrong password: one line', count(edge.output, failed), 1);
  // the PBX changes its mind: the second attempt comes within a minute
  const conf = path.join(pbx.run, 'etc/pjsip.conf');
  writeFileSync(conf, readFileSync(conf, 'utf8').replace('password = trunk-in-pw', 'password = not-the-password'));
  await pbx.console('module reload res_pjsip.so');
  await until('registered', () => /INFO registered at the trunk's PBX/.test(edge.output), 65_000);
  report.equal('the password is right now: one line of each state', `${count(edge.output, failed)} ${count(edge.output, /INFO registered at the trunk's PBX/g)}`, '1 1');
  await edge.stop();
}
