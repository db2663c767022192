// An account that is an extension of the PBX: registered there as a telephone, called and calling as one.
import { Browser } from '../lib/browser.mjs';
import { Pbx } from '../lib/pbx.mjs';
import { until } from '../lib/process.mjs';
import { Api, Sipedge, configuration } from '../lib/sipedge.mjs';
import { calledByPbx, toneInBrowser, toneInPbx } from '../lib/tones.mjs';

export const name = 'accounts that are extensions';
export const alone = true;

const SIP = 25890;
const PBX_SIP = 25860;
const BASE = 'http://127.0.0.1:21890';

export async function run({ report, microphone, program, tone, out, binary, home, started }) {
  const pbx = started(new Pbx({ home, name: 'lines', ports: PBX_SIP, peer: 25899 }));
  await pbx.start();
  const browser = started(await Browser.start({ microphone, program }));
  const config = configuration({ http: 21890, sip: SIP, webrtc: 27890, rtp: 45800, host: `127.0.0.1:${PBX_SIP}`, origin: browser.origin, inbound: '' })
    .replace(/^user = .*\npassword = .*$/m, '')
    .replace('[account.anna]', '[account.anna]\nline = "trunk.pbx"\nline_user = "alice"\nline_password = "alice-pw"')
    .replace('[account.bert]', '[account.bert]\nline = "trunk.pbx"\nline_user = "bob"\nline_password = "wrong"')
    .replace('[[route]]\nto', '[[route]]\nfrom = "account.anna"\nto')
    .replace('numbers = ["1001"]\n', '');
  const edge = new Sipedge({ binary, out, name: 'lines', config });
  started({ stop: () => (edge.child.exit ? undefined : edge.stop()) });
  await edge.start();
  await edge.child.says("INFO an account's extension is registered at the PBX");
  const line = edge.output.match(/an account's extension is registered.*/)[0];
  report.check('the log says which', /trunk="pbx" account="anna" line="alice"/.test(line), line);
  await edge.child.says("WARN an account's extension is not registered");
  report.check('and which is not, and why', /not registered.*account="bert" line="bob" why=/.test(edge.output), edge.output.match(/extension is not registered.*/)?.[0]);
  const contacts = await until('the PBX has a contact', async () => (await pbx.console('pjsip show contacts')).match(/alice\/sip:alice@127.0.0.1:25890.*/)?.[0]);
  report.check('the PBX has the extension at its place', Boolean(contacts), contacts);

  const client = new Api(BASE);
  await toneInBrowser({ report, client, browser, pbx, codec: 'pcmu', trunk: 'alice' });
  await toneInPbx({ report, client, browser, pbx, tone });
  // 615 hands the extension over to 600: that is a call of the extension's too
  const handed = pbx.mark();
  const callID = await client.make('615');
  await until('the PBX is told that the transfer is done', () => /Subscription-State: terminated[^]*?SIP\/2.0 200 OK/.test(handed()), 15_000);
  const call = handed().match(/^INVITE sip:600@[^]*?\r?\n\r?\n/m)?.[0] ?? '';
  report.check('one that is handed over calls as its extension', /^From: .*<sip:alice@/m.test(call), call.match(/^From:.*/m)?.[0]);
  report.check('and is let in', /PJSIP\/alice-/.test(await pbx.console('core show channels')));
  await client.hangup(callID);
  await until('the PBX is quiet', async () => /^0 active channels/m.test(await pbx.console('core show channels count')));
  // Dial(PJSIP/alice), as for any telephone
  const since = await calledByPbx({ report, client, browser, pbx, what: 'called at the extension', number: '7alice', to: 'alice' });
  report.check('by its own endpoint', /PJSIP\/alice-/.test(since()) && !/PJSIP\/anonymous/.test(since()));

  await pbx.stop();
  await edge.child.says('WARN the trunk is down', 20_000);
  await pbx.start();
  const count = () => edge.output.match(/extension is registered at the PBX/g).length;
  await until('registered again after the PBX came back', async () => /alice\/sip:alice@/.test(await pbx.console('pjsip show contacts')), 20_000);
  report.check('it was registered once in the log, or again', count() >= 1, `${count()}`);
  await edge.stop();
  report.check('its registration was taken away at the end', !/alice\/sip:/.test(await pbx.console('pjsip show contacts')));
  await pbx.stop();
}
