// SIP over TLS, both ends verifying the other: sipedge registers at the PBX, and the PBX here; certificates are exchanged
// while a call lives, and those that prove nothing are told apart.
import path from 'node:path';
import tls from 'node:tls';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Browser } from '../lib/browser.mjs';
import { TONE_HERTZ, hears } from '../lib/hearing.mjs';
import { Pbx, examples } from '../lib/pbx.mjs';
import { run as execute, until } from '../lib/process.mjs';
import { Api, Listener, Sipedge, configuration } from '../lib/sipedge.mjs';
import { calledByPbx, toneInBrowser, toneInPbx } from '../lib/tones.mjs';

export const name = 'SIP over TLS';
// the PBX verifies certificates, so this flow brings one of its own
export const alone = true;

const HTTP = 21790;
const SIP = 25790;
const TLS = 25791;
const PBX_SIP = 25760;
const PBX_TLS = PBX_SIP + 1;
const BASE = `http://127.0.0.1:${HTTP}`;

const count = (text, pattern) => (text.match(pattern) ?? []).length;

/** Connections that are open to a port of this machine. */
const connections = (port) => {
  const to = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return readFileSync('/proc/net/tcp', 'utf8').split('\n').filter((line) => {
    const [, , remote, state] = line.trim().split(/\s+/);
    return state === '01' && remote.endsWith(to);
  }).length;
};

export async function run({ report, microphone, program, tone, out, binary, home, started }) {
  const openssl = existsSync(path.join(home, 'asterisk/wrap/openssl')) ? path.join(home, 'asterisk/wrap/openssl') : 'openssl';
  const also = path.join(out, 'asterisk-tls');
  mkdirSync(also, { recursive: true });
  const pjsip = readFileSync(path.join(examples, 'registers/pjsip.conf'), 'utf8');
  const places = /^((?:contact|server_uri) = sip:127.0.0.1):5080$/gm;
  report.equal('where sipedge is stands twice in the shipped example', count(pjsip, places), 2);
  writeFileSync(path.join(also, 'pjsip.conf'), pjsip.replace(places, `$1:${TLS}\\;transport=tls`).replace('context = from-sipedge', 'context = trunk'));
  copyFileSync(path.join(examples, 'extensions.conf'), path.join(also, 'extensions.conf'));
  const pbx = started(new Pbx({ home, name: 'tls', ports: PBX_SIP, peer: SIP, also, verify: 'yes' }));
  const browser = started(await Browser.start({ microphone, program }));
  await pbx.start();

  const keys = path.join(pbx.run, 'keys');
  const certificate = path.join(out, 'tls-edge.pem');
  const key = path.join(out, 'tls-edge.key');
  // of who looks at the other's certificate
  const own = { pem: path.join(out, 'tls-own.pem'), key: path.join(out, 'tls-own.key') };
  Object.values(own).forEach((file) => rmSync(file, { force: true }));
  /** A certificate of the PBX's authority for sipedge, in place of the one before. */
  const certify = async (serial) => {
    const at = (file) => path.join(out, `tls-edge-new.${file}`);
    writeFileSync(at('cnf'), 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n');
    await execute(openssl, ['req', '-new', '-newkey', 'rsa:2048', '-nodes', '-keyout', at('key'), '-subj', `/CN=sipedge-${serial}`, '-config', path.join(keys, 'req.cnf'), '-out', at('csr')]);
    await execute(openssl, ['x509', '-req', '-in', at('csr'), '-CA', path.join(keys, 'ca.pem'), '-CAkey', path.join(keys, 'ca.key'), '-set_serial', String(serial), '-days', '90', '-extfile', at('cnf'), '-out', at('pem')]);
    if (!existsSync(own.pem)) for (const file of ['pem', 'key']) copyFileSync(at(file), own[file]);
    copyFileSync(at('key'), key);
    copyFileSync(at('pem'), certificate);
  };
  await certify(1001);

  const client = new Api(BASE);
  const contacts = async () => [...(await pbx.console('pjsip show contacts')).matchAll(/Contact:\s+trunk-in\/(\S+)/g)].map((m) => m[1]);
  const quiet = () => until('the PBX is quiet', async () => /^0 active channels/m.test(await pbx.console('core show channels count')));
  const sipedge = async (title, trunk, { login = 'inbound_user = "trunk-in"\ninbound_password = "trunk-in-pw"' } = {}) => {
    const config = configuration({ http: HTTP, sip: SIP, webrtc: 27790, rtp: 45000, host: `127.0.0.1:${PBX_TLS}`, origin: browser.origin, inbound: `${login}\n${trunk}` })
      .replace(/\[sip\]\n/, `[sip]\ntls_listen = ["127.0.0.1:${TLS}"]\ntls_certificate = "${certificate}"\ntls_key = "${key}"\n`)
      // the PBX's own calls do not go back to it
      .replace('[[route]]\nto', '[[route]]\nfrom = "account.anna"\nto')
      .replace(/host = .*\nuser = .*\npassword = .*\n(?=[^]*register = "accept")/, '');
    const edge = new Sipedge({ binary, out, name: `tls-${title}`, config });
    started({ stop: () => (edge.child.exit ? undefined : edge.stop()) });
    await edge.start();
    return edge;
  };
  const called = async (what, number) => {
    const since = await calledByPbx({ report, client, browser, pbx, what, number });
    await quiet();
    return since();
  };
  /** All that was said between the two was said by TLS. */
  const isByTls = (what, log, trunk) => {
    report.check(`${what}: the channel has the trunk's name`, log.includes(`PJSIP/${trunk}-`), log.match(new RegExp(`PJSIP/${trunk}-\\w+`))?.[0]);
    report.equal(`${what}: no anonymous endpoint`, count(log, /PJSIP\/anonymous/g), 0);
    report.check(`${what}: by TLS`, count(log, /SIP (?:request|response) \(\d+ bytes\) (?:from|to) TLS:127/g) > 6, `${count(log, /(?:from|to) TLS:/g)} messages`);
    // another trunk of the PBX goes on trying to register by UDP
    const others = log.split('<--- ').filter((m) => /^.*(?:from|to) (?:UDP|TCP):/.test(m) && !/CSeq: \d+ REGISTER/.test(m));
    report.equal(`${what}: and by nothing else`, others.length, 0);
  };

  // ---- sipedge registers at the PBX
  const trunk = `transport = "tls"\ntls_ca = "${path.join(keys, 'ca.pem')}"\nregister = true\nqualify = "1s"`;
  let since = pbx.mark();
  let edge = await sipedge('registers', trunk);
  await edge.child.says("INFO registered at the trunk's PBX");
  await until('a contact at the PBX', async () => (await contacts()).length);
  report.check('registers: challenged by TLS', /401 Unauthorized[^]*?SIP\/2.0\/TLS[^]*?REGISTER/.test(since()));
  report.check('registers: our Via offers the connection', /Via: SIP\/2.0\/TLS 127.0.0.1:25791;[^\n]*;alias/.test(since()), since().match(/Via: SIP.*alias.*/)?.[0]);
  let log = await called('registers, called', '91001');
  isByTls('registers, called', log, 'trunk-in');
  report.check('registers, called: at the registered contact', log.includes(`INVITE sip:1001@127.0.0.1:${TLS};transport=tls SIP/2.0`), log.match(/INVITE sip:1001@127.*/)?.[0]);
  report.check('registers, called: the call of the PBX was challenged', /SIP\/2.0 401[^]*?CSeq: \d+ INVITE/.test(log));
  since = pbx.mark();
  await toneInBrowser({ report, client, browser, pbx, codec: 'pcmu' });
  await toneInPbx({ report, client, browser, pbx, tone });
  isByTls('registers, calls', since(), 'trunk-in');
  report.check('registers, calls: the contact is sip by TLS', new RegExp(`Contact: <sip:trunk-in@127.0.0.1:${TLS};transport=tls>`).test(since()), since().match(/Contact: <sip:trunk-in.*/)?.[0]);
  report.equal('registers: one connection to the PBX', connections(PBX_TLS), 1);

  // ---- its certificate is replaced while a call lives
  const shown = () => new Promise((done, failed) => {
    const socket = tls.connect({ host: '127.0.0.1', port: TLS, ca: readFileSync(path.join(keys, 'ca.pem')), cert: readFileSync(own.pem), key: readFileSync(own.key) }, () => {
      done(socket.getPeerCertificate().subject.CN);
      socket.destroy();
    });
    socket.on('error', failed);
  });
  report.equal('the certificate before', await shown(), 'sipedge-1001');
  const callID = await client.make('602');
  const page = await browser.page();
  await browser.attach(page, { api: BASE, token: client.token, callID });
  await until('active', async () => (await client.status(callID)).state === 'active');
  await certify(1002);
  await until('the certificate after', async () => (await shown()) === 'sipedge-1002', 15_000, 500);
  report.check('the log says so', /INFO certificates were read anew.*key="sip.tls_certificate"/.test(edge.output), edge.output.match(/.*read anew.*/)?.[0]);
  await hears({ report }, page, 'the call goes on: frequency', TONE_HERTZ);
  report.equal('by the same connection', connections(PBX_TLS), 1);
  await client.hangup(callID);
  await quiet();
  await page.close();
  writeFileSync(certificate, 'no certificate');
  await edge.child.says('WARN what was written is of no use');
  report.equal('a file of no use changes nothing', await shown(), 'sipedge-1002');
  await certify(1003);
  await until('it is right again', async () => (await shown()) === 'sipedge-1003', 15_000, 500);

  // ---- the PBX goes and comes back: the connection is made anew
  await pbx.stop();
  await edge.child.says('the trunk is down', 15_000);
  await pbx.start();
  await edge.child.says('the trunk is up again', 15_000);
  await until('a contact at the PBX', async () => (await contacts()).length, 15_000);
  await toneInBrowser({ report, client, browser, pbx, codec: 'pcmu' });
  await edge.stop();
  report.equal('told to end: the binding is gone', (await contacts()).join(), '');

  // ---- sips, and a PBX whose very certificate is believed
  edge = await sipedge('sips', `transport = "tls"\ntls_ca = "${path.join(keys, 'server.pem')}"\nsips = true\nqualify = "1s"`);
  since = pbx.mark();
  await toneInBrowser({ report, client, browser, pbx, codec: 'pcmu' });
  log = since();
  report.check('sips: dialled so', log.includes(`INVITE sips:602@127.0.0.1:${PBX_TLS} SIP/2.0`), log.match(/INVITE sip.*/)?.[0]);
  report.check('sips: our contact is one', new RegExp(`Contact: <sips:trunk-in@127.0.0.1:${TLS}>`).test(log), log.match(/Contact: <sips:.*/)?.[0]);
  report.check('sips: and so is that of the PBX', /Contact: <sips:127.0.0.1:\d+/.test(log), log.match(/Contact: <sips:127.*/)?.[0]);
  isByTls('sips', log, 'trunk-in');
  await edge.stop();

  // ---- a PBX that proves nothing is told apart, and calls to it fail at once
  for (const [title, more, why] of [
    ['unknown', '', /WARN no TLS: its certificate is signed by nobody we believe: name the file of its CA, or of the certificate itself, in tls_ca.*peer="trunk.pbx"/],
    ['name', `tls_ca = "${path.join(keys, 'ca.pem')}"\ntls_name = "pbx.example.org"`, /WARN no TLS: its certificate is for localhost, 127.0.0.1, not for pbx.example.org: .*tls_name.*peer="trunk.pbx"/],
  ]) {
    edge = await sipedge(title, `transport = "tls"\nqualify = "1s"\n${more}`);
    await edge.child.says('the trunk is down', 15_000);
    report.check(`${title}: the log says why and what to do`, why.test(edge.output), edge.output.match(/.*no TLS.*/)?.[0]);
    report.equal(`${title}: once`, count(edge.output, /no TLS:/g), 1);
    const refused = await client.make('602');
    report.equal(`${title}: a call`, (await until('its end', async () => {
      const call = await client.status(refused);
      return call.state === 'ended' && call;
    }, 2_000)).endReason, 'failed');
    await edge.stop();
  }

  // ---- the PBX registers here
  edge = await sipedge('registrar', 'register = "accept"\nuser = "sipedge"\npassword = "change-this-password"\nqualify = "1s"', {
    login: 'inbound_user = "asterisk"\ninbound_password = "change-this-password-too"',
  });
  // it has given up: the sipedge before took no registrations
  await pbx.console('pjsip send register sipedge-registration');
  await edge.child.says("INFO the trunk's PBX registered here", 15_000);
  report.check('registrar: by TLS', /registered here.*transport="TLS"/.test(edge.output), edge.output.match(/registered here.*/)?.[0]);
  since = pbx.mark();
  await toneInBrowser({ report, client, browser, pbx, codec: 'pcmu', trunk: 'sipedge' });
  await toneInPbx({ report, client, browser, pbx, tone });
  isByTls('registrar, calls', since(), 'sipedge');
  report.equal('registrar: no connection to the PBX was made', connections(PBX_TLS), 0);
  const listener = new Listener(client);
  await listener.opened;
  await pbx.reaches('sipedge');
  since = pbx.mark();
  await pbx.console('channel originate Local/1001@to-sipedge/n extension 602@from-sipedge');
  const { call } = await listener.next('call.incoming');
  await client.ask('POST', '/call/answer', { callID: call.callID });
  const answering = await browser.page();
  await browser.attach(answering, { api: BASE, token: client.token, callID: call.callID });
  await hears({ report }, answering, 'registrar, called: frequency', TONE_HERTZ);
  await client.hangup(call.callID);
  await listener.next('call.ended', call.callID);
  await quiet();
  isByTls('registrar, called', since(), 'sipedge');
  report.equal('registrar, called: still no connection to the PBX was made', connections(PBX_TLS), 0);
  await listener.stop();
  await answering.close();
  await edge.stop();
  await pbx.stop();
}
