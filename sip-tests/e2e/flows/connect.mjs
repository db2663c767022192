// Every way to connect an Asterisk: as shipped in config/asterisk/, and as `sipedge config` prints it. Each in both directions.
import path from 'node:path';
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Browser } from '../lib/browser.mjs';
import { TONE_HERTZ, hears } from '../lib/hearing.mjs';
import { Pbx, examples } from '../lib/pbx.mjs';
import { run as execute, until } from '../lib/process.mjs';
import { Api, Listener, Sipedge } from '../lib/sipedge.mjs';

export const name = 'ways to connect';
// the PBX is another one each time, so this flow brings its own
export const alone = true;

const PBX_SIP = 25660;
const BASE = 'http://127.0.0.1:21690';
const WIZARD = 'load = res_pjsip_config_wizard.so\n';

const count = (text, pattern) => (text.match(pattern) ?? []).length;

/** One change to a shipped text, which must be possible. */
const change = (text, [from, to]) => {
  const changed = text.replace(from, to);
  if (changed === text) throw new Error(`nothing to change: ${from}`);
  return changed;
};

const registersHere = [['host = "127.0.0.1:5060"', 'register = "accept" # '], [/^# register = .*$/m, '']];
const byTcp = [/^((?:contact|server_uri) = sip:127.0.0.1:5080)$/gm, '$1\\;transport=tcp'];
const registersThere = [['user = "sipedge" ', 'register = true\nuser = "sipedge" ']];
const withoutLogins = [[/^(user|password|inbound_user|inbound_password) = .*$/gm, '']];

/** `edge` and `pbx` are changes to what is shipped; `file` is shipped for the PBX, `prints` is asked of sipedge. */
const WAYS = [
  { what: 'the PBX registers, UDP', file: 'registers/pjsip.conf', edge: registersHere, registers: 'UDP' },
  { what: 'the PBX registers, TCP', file: 'registers/pjsip.conf', edge: registersHere, pbx: [byTcp], registers: 'TCP' },
  { what: 'by address', file: 'address/pjsip.conf', edge: withoutLogins, byAddress: true },
  { what: 'wizard', file: 'wizard/pjsip_wizard.conf' },
  { what: 'printed, sipedge registers', prints: 'asterisk', edge: registersThere },
  { what: 'printed wizard, sipedge registers', prints: 'asterisk-wizard', edge: registersThere },
  { what: 'printed wizard, the PBX registers by TCP', prints: 'asterisk-wizard', edge: registersHere, pbx: [[/^remote_hosts = .*$/m, '$&\nserver_uri_pattern = sip:${REMOTE_HOST}\\;transport=tcp\ncontact_pattern = sip:${REMOTE_HOST}\\;transport=tcp']], registers: 'TCP' },
  { what: 'printed, TCP', prints: 'asterisk', edge: [['user = "sipedge" ', 'transport = "tcp"\nuser = "sipedge" ']] },
];

export async function run({ report, microphone, program, out, binary, home, started }) {
  const browser = started(await Browser.start({ microphone, program }));
  for (const way of WAYS) await connects({ report, browser, out, binary, home, started, ...way });
}

async function connects({ report, browser, out, binary, home, started, what, file, prints, edge: edits = [], pbx: pbxEdits = [], registers, byAddress }) {
  const toml = edits.reduce(change, readFileSync(new URL('../../../config/sipedge.toml', import.meta.url), 'utf8'));
  const env = {
    SIPEDGE_HTTP__LISTEN: BASE.slice(7), SIPEDGE_HTTP__ORIGINS: browser.origin, SIPEDGE_SIP__LISTEN: '127.0.0.1:5080',
    SIPEDGE_MEDIA__WEBRTC_PORT: '27690',
    ...(/^register = "accept"/m.test(toml) ? {} : { SIPEDGE_TRUNK__PBX__HOST: `127.0.0.1:${PBX_SIP}`, SIPEDGE_TRUNK__PBX__QUALIFY: '1s' }),
  };
  const edge = new Sipedge({ binary, out, name: `connect-${what.replaceAll(/\W+/g, '-')}`, config: toml, env });

  const also = path.join(out, 'asterisk-also');
  rmSync(also, { recursive: true, force: true });
  mkdirSync(also, { recursive: true });
  copyFileSync(path.join(examples, 'extensions.conf'), path.join(also, 'extensions.conf'));
  const text = prints
    ? await execute(binary, ['config', prints, '--trunk', 'pbx', '--config', edge.file], { env: { ...process.env, ...env } })
    : readFileSync(path.join(examples, file), 'utf8');
  const isWizard = (prints ?? file).includes('wizard');
  writeFileSync(path.join(also, isWizard ? 'pjsip_wizard.conf' : 'pjsip.conf'), pbxEdits.reduce(change, text));
  if (isWizard) writeFileSync(path.join(also, 'modules.conf'), WIZARD);

  started({ stop: () => (!edge.child || edge.child.exit ? undefined : edge.stop()) });
  await edge.start();
  const pbx = started(new Pbx({ home, name: 'connect', ports: PBX_SIP, peer: 25690, also }));
  await pbx.start();
  if (registers) {
    await edge.child.says("INFO the trunk's PBX registered here", 15_000);
    report.check(`${what}: that is how it registered`, new RegExp(`registered here.*transport="${registers}"`).test(edge.output), edge.output.match(/registered here.*/)?.[0]);
  }
  if (!registers) await edge.child.says('INFO the trunk is up again', 15_000); // it was started before the PBX
  if (edits === registersThere) {
    await edge.child.says("INFO registered at the trunk's PBX", 15_000);
    await until('the PBX has the contact', async () => /sipedge\/sip:/.test(await pbx.console('pjsip show contacts')));
  }
  const client = new Api(BASE, 'change-this-token');
  const since = pbx.mark();
  const callID = await client.make('602');
  const page = await browser.page();
  await browser.attach(page, { api: BASE, token: client.token, callID });
  await until('active', async () => (await client.status(callID)).state === 'active');
  await hears({ report }, page, `${what}: frequency`, TONE_HERTZ);
  await client.hangup(callID);
  await until('the PBX names its channel', () => /PJSIP\/sipedge-[0-9a-f]+/.test(since()));
  report.equal(`${what}: the PBX challenged sipedge`, /Authorization: Digest username="sipedge"/.test(since()), !byAddress);
  report.equal(`${what}: no anonymous endpoint`, count(since(), /PJSIP\/anonymous/g), 0);
  const transport = registers ?? (/transport = "tcp"/.test(toml) ? 'TCP' : 'UDP');
  report.check(`${what}: by ${transport}`, since().includes(`Via: SIP/2.0/${transport} 127.0.0.1:5080`), since().match(/Via: .*127.0.0.1:5080/)?.[0]);
  await page.close();

  await pbx.reaches('sipedge');
  const listener = new Listener(client);
  await listener.opened;
  const back = pbx.mark();
  await pbx.console('channel originate Local/1001@to-sipedge/n extension 602@from-sipedge');
  const { call } = await listener.next('call.incoming');
  report.equal(`${what}: Dial(PJSIP/1001@sipedge) rings`, `${call.direction} ${call.to}`, 'inbound 1001');
  await client.ask('POST', '/call/answer', { callID: call.callID });
  const called = await browser.page();
  await browser.attach(called, { api: BASE, token: client.token, callID: call.callID });
  await hears({ report }, called, `${what}: frequency of a call of the PBX`, TONE_HERTZ);
  report.equal(`${what}: it logged in`, /Authorization: Digest username="asterisk"[^]*?uri="sip:1001@/.test(back()), !byAddress);
  await client.hangup(call.callID);
  await listener.next('call.ended', call.callID);
  await listener.stop();
  await called.close();
  await edge.stop();
  await pbx.stop();
}
