// The shipped configuration, as it is shipped: config/sipedge.toml and config/asterisk/, in both directions. SIP is on its
// usual port, where the PBX looks for it; the other ports are the tests' own.
import { fileURLToPath } from 'node:url';
import { TONE_HERTZ, hears } from '../lib/hearing.mjs';
import { Api, Listener, Sipedge } from '../lib/sipedge.mjs';
import { until } from '../lib/process.mjs';

export const name = 'shipped examples';

export async function run({ report, binary, out, browser, pbx }) {
  const file = fileURLToPath(new URL('../../../config/sipedge.toml', import.meta.url));
  const env = {
    SIPEDGE_HTTP__LISTEN: '127.0.0.1:21390', SIPEDGE_HTTP__ORIGINS: browser.origin, SIPEDGE_SIP__LISTEN: '127.0.0.1:5080',
    SIPEDGE_MEDIA__WEBRTC_PORT: '27090', SIPEDGE_TRUNK__PBX__HOST: `127.0.0.1:${pbx.sipPort}`, SIPEDGE_LOG__FORMAT: 'json',
  };
  const sipedge = new Sipedge({ binary, out, name: 'example', file, env });
  await sipedge.start();
  try {
    const client = new Api('http://127.0.0.1:21390', 'change-this-token');
    const since = pbx.mark();
    const callID = await client.make('602');
    const page = await browser.page();
    await browser.attach(page, { api: client.base, token: client.token, callID });
    await until('active', async () => (await client.status(callID)).state === 'active');
    await hears({ report }, page, 'frequency', TONE_HERTZ);
    await client.hangup(callID);
    await until('the PBX names its channel', () => /PJSIP\/sipedge-[0-9a-f]+/.test(since()));
    report.check('the PBX knew the call by the example endpoint', !/PJSIP\/anonymous-/.test(since()), since().match(/PJSIP\/sipedge-[0-9a-f]+/)[0]);
    report.check('the caller id reached the PBX', /P-Asserted-Identity: .*sip:100@/.test(since()), '');
    const logged = () => sipedge.output.trim().split('\n').map((line) => JSON.parse(line)).filter((l) => l.call === callID).map((l) => l.message);
    await until('the JSON log has the end of the call', () => logged().includes('call ended'));
    report.check('the JSON log has start and answer too', ['call started', 'call answered'].every((m) => logged().includes(m)), logged().join(', '));
    await page.close();

    await pbx.console('pjsip qualify sipedge');
    await until('the PBX sees sipedge', async () => /sipedge\/sip:127\.0\.0\.1:5080 +\S+ +Avail/.test(await pbx.console('pjsip show contacts')));
    const listener = new Listener(client);
    await listener.opened;
    const back = pbx.mark();
    await pbx.console('channel originate Local/1001@to-sipedge/n extension 602@from-sipedge');
    const { call } = await listener.next('call.incoming');
    report.equal('Dial(PJSIP/1001@sipedge) rings', `${call.direction} ${call.to}`, 'inbound 1001');
    await client.ask('POST', '/call/answer', { callID: call.callID });
    const called = await browser.page();
    await browser.attach(called, { api: client.base, token: client.token, callID: call.callID });
    await hears({ report }, called, 'frequency of a call of the PBX', TONE_HERTZ);
    report.check('it logged in', /Authorization: Digest username="asterisk"/.test(back()));
    await client.hangup(call.callID);
    await listener.next('call.ended', call.callID);
    await listener.stop();
    await called.close();
  } finally {
    await sipedge.stop();
  }
}
