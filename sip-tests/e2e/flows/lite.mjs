// ICE lite towards browsers: the browser makes all checks, sipedge none. Calls in both directions, a tone each way, both address
// families, an ICE restart, and a browser that is gone without a word.
import { readFileSync } from 'node:fs';
import { Browser } from '../lib/browser.mjs';
import { TONE_HERTZ, hears } from '../lib/hearing.mjs';
import { Pbx } from '../lib/pbx.mjs';
import { until } from '../lib/process.mjs';
import { strongest } from '../lib/signal.mjs';
import { Api, Listener, Sipedge, configuration } from '../lib/sipedge.mjs';
import { calledByPbx, toneInBrowser, toneInPbx } from '../lib/tones.mjs';
import { readWav } from '../lib/wav.mjs';

export const name = 'ICE lite';
export const alone = true;

/** Consent lasts 15 s, and the browser's last check may be as old as its interval. */
const CONSENT_MS = 15_000;

export async function run(ctx) {
  const hasV6 = readFileSync('/proc/net/if_inet6', 'utf8').includes('00000000000000000000000000000001');
  ctx.report.check('IPv6 loopback is there', hasV6);
  await family(ctx, { bind: '127.0.0.1', ports: 26060, http: 21940, sip: 25980, webrtc: 27940, rtp: 46200 });
  if (hasV6) await family(ctx, { bind: '::1', ports: 26160, http: 21945, sip: 25985, webrtc: 27945, rtp: 46600 });
}

async function family({ report, microphone, program, tone, out, binary, home, started }, { bind, ports, http, sip, webrtc, rtp }) {
  const isV6 = bind.includes(':');
  console.log(`  -- ${isV6 ? 'IPv6' : 'IPv4'}`);
  const pbx = started(new Pbx({ home, name: `lite${isV6 ? '6' : ''}`, bind, ports, peer: sip }));
  await pbx.start();
  const browser = started(await Browser.start({ microphone, program, bind }));
  const from = 'from = "account.anna"\n'; // what the PBX calls rings here
  const config = configuration({ http, sip, webrtc, rtp, bind, from, host: `${pbx.host}:${pbx.sipPort}`, origin: browser.origin })
    .replace('loopback = true', 'loopback = true\nlite = true\n[wago]\nhangup_on_media_loss = true');
  const edge = started(new Sipedge({ binary, out, name: `lite${isV6 ? '6' : ''}`, config }));
  await edge.start();
  const client = new Api(`http://${isV6 ? '[::1]' : '127.0.0.1'}:${http}`);

  const examine = (stats) => {
    report.equal('the browser controls', stats.iceRole, 'controlling');
    report.equal('it talks to', stats.remote, bind);
    report.check('its checks are answered', stats.checksSent > 0 && stats.checksAnswered > 0, `${stats.checksAnswered} of ${stats.checksSent}`);
    report.equal('checks that it got of sipedge', stats.checksReceived, 0);
  };
  await toneInBrowser({ report, client, browser, pbx, codec: 'pcmu', examine });
  await toneInPbx({ report, client, browser, pbx, tone });
  await calledByPbx({ report, client, browser, pbx, what: 'called by the PBX', number: '81001' });
  await recordedByCaller({ report, client, browser, pbx, tone });
  await restarts({ report, client, browser, pbx, examine });
  await killed({ report, client, browser, pbx, edge });
  await edge.stop();
  await browser.stop();
  await pbx.stop();
}

/** The PBX calls here and records who answers. */
async function recordedByCaller({ report, client, browser, pbx, tone }) {
  const before = new Set(pbx.recordings());
  const listener = new Listener(client);
  await listener.opened;
  await pbx.calls('81001', '612');
  const { call } = await listener.next('call.incoming');
  await client.ask('POST', '/call/answer', { callID: call.callID });
  const page = await browser.page();
  await browser.attach(page, { api: client.base, token: client.token, callID: call.callID });
  await new Promise((done) => setTimeout(done, 2_500));
  await client.hangup(call.callID);
  await listener.next('call.ended', call.callID);
  await listener.stop();
  await page.close();
  const file = await until('a recording', () => pbx.recordings().find((f) => !before.has(f)));
  const { rate, samples } = readWav(file);
  report.near('called by the PBX: frequency in its recording', strongest(samples, rate).hertz, tone.hertz, tone.hertz / 100, 'Hz');
}

/** New credentials within one connection, and consent for longer than it lasts. */
async function restarts({ report, client, browser, examine }) {
  const callID = await client.make('602');
  const options = { api: client.base, token: client.token, callID };
  const page = await browser.page();
  await browser.attach(page, options);
  await until('active', async () => (await client.status(callID)).state === 'active');
  const described = await page.evaluate(() => window.connection().currentRemoteDescription.sdp);
  report.check('the answer says that sipedge is lite, for the session', /^a=ice-lite\r$/m.test(described.split('m=audio')[0]));
  const before = await page.evaluate(() => window.statistics());
  const restarted = await page.evaluate((o) => window.restart(o), options);
  report.check('restart: another ufrag of ours', restarted.ufrags[0] !== restarted.ufrags[1], restarted.ufrags.join(', '));
  await hears({ report }, page, 'restart: frequency', TONE_HERTZ);
  const after = await page.evaluate(() => window.statistics());
  report.check('restart: the browser uses its new ufrag', after.ufrag !== before.ufrag, `${before.ufrag}, ${after.ufrag}`);
  await new Promise((done) => setTimeout(done, CONSENT_MS + 3_000));
  await hears({ report }, page, '18 s later: frequency', TONE_HERTZ);
  examine(await page.evaluate(() => window.statistics()));
  await client.hangup(callID);
  await page.close();
}

/** A tab that is killed says nothing any more, not even goodbye. */
async function killed({ report, client, browser, pbx, edge }) {
  const since = pbx.mark();
  const callID = await client.make('602');
  const page = await browser.page();
  await browser.attach(page, { api: client.base, token: client.token, callID });
  await until('active', async () => (await client.status(callID)).state === 'active');
  await page.evaluate(() => window.hear(1));
  const died = Date.now();
  const crashed = page.waitForEvent('crash');
  const session = await browser.context.newCDPSession(page);
  session.send('Page.crash').catch(() => {}); // it never answers
  await crashed;
  const ended = await until('the call ends', async () => {
    const call = await client.status(callID);
    return call.state === 'ended' && call;
  }, CONSENT_MS + 5_000);
  const seconds = (Date.now() - died) / 1000;
  report.equal('a tab that is killed: the call ended', ended.endReason, 'failed');
  report.check('after consent was lost', seconds > CONSENT_MS / 1000 - 6 && seconds < CONSENT_MS / 1000 + 1, `${seconds.toFixed(1)} s`);
  const line = await until('the end in the log', () => edge.output.match(new RegExp(`call ended call=${callID} .*`))?.[0]); // which may come after the API's answer
  report.check('for that cause', line.includes('cause=consent-lost'), line);
  const figures = await pbx.callEnd(since);
  report.check('the PBX is hung up', figures.rtp_in > 100, `in ${figures.rtp_in}`);
}
