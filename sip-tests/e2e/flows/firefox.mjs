// Firefox as a user has it: the same program, and the call page, with a tone each way. It names its addresses as `.local`
// alone, sends a post-quantum ClientHello in two datagrams, prefers GCM, and does not take control when it offers again.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Demo, isConfigured } from '../lib/demo.mjs';
import { Firefox, missing } from '../lib/firefox.mjs';
import { TONE_HERTZ, hears } from '../lib/hearing.mjs';
import { Pbx } from '../lib/pbx.mjs';
import { until } from '../lib/process.mjs';
import { strongest } from '../lib/signal.mjs';
import { Api, Sipedge, configuration } from '../lib/sipedge.mjs';
import { calledByPbx, toneInBrowser } from '../lib/tones.mjs';
import { readWav } from '../lib/wav.mjs';

export const name = 'Firefox';
export const alone = true;

const SPOKEN = 700;
const TOKEN = 'firefox-token-0123456789';

export async function run({ report, program, out, binary, home, started }) {
  // route, interface, destination: the network of all addresses
  const hasRoute = readFileSync('/proc/net/route', 'utf8').split('\n').some((line) => line.split('\t')[1] === '00000000');
  if (!hasRoute) {
    console.log('  SKIPPED: without a default route Firefox looks for no addresses; nothing of it was tested');
    return;
  }
  if (missing().length) {
    console.log(`  SKIPPED: ${missing().join(' and ')} missing on this machine; nothing of it was tested`);
    return;
  }
  const pbx = started(new Pbx({ home, name: 'firefox', ports: 26260, peer: 25995 }));
  await pbx.start();
  const browser = started(await Firefox.start({ program, hertz: SPOKEN, port: 21999 }));
  console.log(`  Firefox ${browser.version}`);
  const config = configuration({
    http: 21990, sip: 25995, webrtc: 27990, rtp: 47000, from: 'from = "account.anna"\n', codecs: ['opus'],
    host: `${pbx.host}:${pbx.sipPort}`, origin: browser.origin,
  }).replace('addresses = ["127.0.0.1"]\n', ''); // it has no candidate of the loopback
  const edge = started(new Sipedge({ binary, out, name: 'firefox', config }));
  await edge.start();
  const client = new Api('http://127.0.0.1:21990');
  const examine = (stats) => report.equal('it controls', stats.iceRole, 'controlling');
  await toneInBrowser({ report, client, browser, pbx, codec: 'opus', examine });
  await calledByPbx({ report, client, browser, pbx, what: 'called by the PBX', number: '81001' });
  await recorded({ report, client, browser, pbx });
  await restarts({ report, client, browser });
  await page({ report, browser, binary, out, started });
  await edge.stop();
  await lite({ report, client, browser, pbx, binary, out, started, config });
}

/** The same towards an agent that makes no checks. */
async function lite({ report, client, browser, pbx, binary, out, started, config }) {
  console.log('  -- ICE lite');
  const edge = started(new Sipedge({ binary, out, name: 'firefox-lite', config: config.replace('loopback = true', 'loopback = true\nlite = true') }));
  await edge.start();
  const examine = (stats) => report.check('it controls, and its checks are answered', stats.iceRole === 'controlling' && stats.checksAnswered > 0, `${stats.iceRole}, ${stats.checksAnswered}`);
  await toneInBrowser({ report, client, browser, pbx, codec: 'opus', examine });
  await calledByPbx({ report, client, browser, pbx, what: 'called by the PBX', number: '81001' });
  await recorded({ report, client, browser, pbx });
  await restarts({ report, client, browser, isLite: true });
}

/** What it speaks, at the PBX. */
async function recorded({ report, client, browser, pbx }) {
  const before = new Set(pbx.recordings());
  const callID = await client.make('612');
  const page = await browser.page();
  await browser.attach(page, { api: client.base, token: client.token, callID });
  await until('the recording ends the call', async () => (await client.status(callID)).state === 'ended', 15_000);
  await page.close();
  const { rate, samples } = readWav(pbx.recordings().find((file) => !before.has(file)));
  const second = samples.subarray(2 * rate, 3 * rate);
  report.near('frequency in the recording', strongest(second, rate).hertz, SPOKEN, SPOKEN / 100, 'Hz');
}

/** New credentials within one connection: who offers again does not take control of it. */
async function restarts({ report, client, browser, isLite = false }) {
  const callID = await client.make('602');
  const options = { api: client.base, token: client.token, callID };
  const page = await browser.page();
  await browser.attach(page, options);
  const described = await page.evaluate(() => window.connection().currentRemoteDescription.sdp);
  report.equal('the answer says whether we are lite', /^a=ice-lite\r?$/m.test(described.split('m=audio')[0]), isLite);
  const restarted = await page.evaluate((o) => window.restart(o), options);
  report.check('restart: another ufrag of ours', restarted.ufrags[0] !== restarted.ufrags[1], restarted.ufrags.join(', '));
  await hears({ report }, page, 'restart: frequency', TONE_HERTZ);
  await client.hangup(callID);
  await page.close();
}

/** The demo's call page. */
async function page({ report, browser, binary, out, started }) {
  if (!report.check('no configuration of this machine is in the way', !isConfigured())) return;
  const demo = started(new Demo({ binary, http: 21980, token: TOKEN }));
  await demo.start();
  const page = await browser.page(demo.url);
  const text = () => page.evaluate(() => document.body.innerText);
  await until('the page is ready', async () => /Ready/.test(await text()));
  await page.evaluate(() => {
    document.querySelector('#number').value = '602';
    document.querySelector('#dial').requestSubmit();
  });
  await until('the page talks', async () => /Hang up/.test(await text()) && /0:0[2-9]/.test(await text()), 15_000);
  const heard = await page.evaluate(async () => {
    const audio = new AudioContext();
    const analyser = audio.createAnalyser();
    analyser.fftSize = 32_768;
    audio.createMediaStreamSource(document.querySelector('audio').srcObject).connect(analyser);
    await new Promise((done) => setTimeout(done, 1_500));
    const bins = new Float32Array(analyser.frequencyBinCount);
    analyser.getFloatFrequencyData(bins);
    const loudest = bins.indexOf(Math.max(...bins));
    return { hertz: (loudest * audio.sampleRate) / analyser.fftSize, level: bins[loudest] };
  });
  await page.screenshot(path.join(out, 'page-firefox-talking.png'));
  report.near('the page: frequency', heard.hertz, 1004, 10.04, 'Hz');
  report.check('the page: it is loud', heard.level > -60, `${heard.level.toFixed(1)} dB`);
  await page.evaluate(() => document.querySelector('#hang-up').click());
  await until('the page is ready again', async () => /Ready/.test(await text()) && !/Hang up/.test(await text()));
  report.check('the page: hung up', true);
  await page.close();
}
