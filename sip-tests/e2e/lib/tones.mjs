// A call in each direction of audio: Asterisk's tone in the browser, the browser's in Asterisk's recording.
import { statSync } from 'node:fs';
import { PURE, TONE_HERTZ, hears, listenFor } from './hearing.mjs';
import { compareEnvelopes, envelope, loudest, strongest } from './signal.mjs';
import { readWav } from './wav.mjs';
import { until } from './process.mjs';
import { Listener } from './sipedge.mjs';

/** RMS of Asterisk's Milliwatt(): 0 dBm0 of G.711, whose full scale (+3.17 dBm0) is a sine of -3.01 dBFS (ITU-T G.711). */
const MILLIWATT_DB = -3.01 - 3.17;
const WINDOW_MS = 40;
/** A browser may change its path within a second of connecting; a packet on its way by a path not yet proved is dropped. */
export const FEW = 2;

/** Calls 602 and measures its tone in the browser; `examine` is given the browser's statistics. Gives the PBX's figures. */
export async function toneInBrowser({ report, client, browser, pbx, codec, trunk = 'trunk-in', examine = () => {} }) {
  const since = pbx.mark();
  const callID = await client.make('602');
  const page = await browser.page();
  await browser.attach(page, { api: client.base, token: client.token, callID });
  const call = await until('the call is active with media', async () => {
    const c = await client.status(callID);
    return c.state === 'active' && c.media.webrtc === 'connected' && c;
  });
  report.equal('codec of the call', call.media.codec, codec);
  const { hertz, level, purity } = await listenFor(page, TONE_HERTZ, { seconds: 2, pure: true });
  report.near('frequency in the browser', hertz, TONE_HERTZ, TONE_HERTZ / 100, 'Hz');
  report.near('level in the browser', level, MILLIWATT_DB, 1, 'dBFS');
  report.check('it is a pure tone', purity > PURE, purity.toFixed(4));
  const stats = await page.evaluate(() => window.statistics());
  report.check('packets in the browser', stats.received > 80 && stats.lost <= FEW, JSON.stringify(stats));
  examine(stats);
  await client.hangup(callID);
  const figures = await pbx.callEnd(since);
  report.check('the PBX knew the call by its trunk', figures.chan.startsWith(`PJSIP/${trunk}-`), figures.chan);
  report.check('packets at the PBX', figures.rtp_in > 80 && Number(figures.lost_in) <= FEW, `in ${figures.rtp_in}, out ${figures.rtp_out}, lost ${figures.lost_in}`);
  await page.close();
  return figures;
}

/** The PBX calls `to` here, by dialling `number` or as `call` does, is answered, and its tone is heard; gives what reads its log since then. */
export async function calledByPbx({ report, client, browser, pbx, what, number, to = '1001', call: calls = () => pbx.calls(number) }) {
  const listener = new Listener(client);
  await listener.opened;
  const since = pbx.mark();
  await calls();
  const { call } = await listener.next('call.incoming');
  report.equal(`${what}: announced`, `${call.direction} ${call.state} ${call.to}`, `inbound incoming ${to}`);
  const answered = await client.ask('POST', '/call/answer', { callID: call.callID });
  report.equal(`${what}: answered`, `${answered.status} ${answered.json.call?.state}`, '200 active');
  const page = await browser.page();
  await browser.attach(page, { api: client.base, token: client.token, callID: call.callID });
  await hears({ report }, page, `${what}: tone in the browser`, TONE_HERTZ, { pure: true });
  await client.hangup(call.callID);
  report.equal(`${what}: ended`, (await listener.next('call.ended', call.callID)).call.endReason, 'user_ended');
  await page.close();
  await listener.stop();
  return since;
}

/** Calls 612, which records, and finds the microphone's bursts in the recording. Gives the PBX's figures. */
export async function toneInPbx({ report, client, browser, pbx, tone }) {
  const before = new Set(pbx.recordings());
  const since = pbx.mark();
  const callID = await client.make('612');
  const page = await browser.page();
  await browser.attach(page, { api: client.base, token: client.token, callID });
  const ended = await until('the recording ends the call', async () => {
    const c = await client.status(callID);
    return c.state === 'ended' && c;
  }, 15_000);
  report.equal('ended by the PBX', ended.endReason, 'remote_ended');
  const microphone = await page.evaluate((ms) => window.microphoneEnvelope(14, ms), WINDOW_MS);
  const figures = await pbx.callEnd(since);
  const file = pbx.recordings().find((f) => !before.has(f));
  const { rate, samples } = readWav(file);
  const { hertz } = strongest(loudest(samples.subarray(rate), rate, tone.on), rate);
  report.near('frequency in the recording', hertz, tone.hertz, tone.hertz / 100, 'Hz');
  const match = compareEnvelopes(microphone, envelope(samples, rate, WINDOW_MS));
  report.check('the recording follows the microphone', match !== null, match ? `${match.windows} windows` : 'no match');
  if (match) report.near('level of the recording against the microphone', match.difference, 0, 1, 'dB');
  report.check('recorded', samples.length / rate > 8, `${(samples.length / rate).toFixed(1)} s`);
  await page.close();
  return figures;
}

/** A detached call to 612: what the PBX records of a call without a browser is silence. */
export async function silenceInPbx({ report, client, pbx }) {
  const before = new Set(pbx.recordings());
  const since = pbx.mark();
  const callID = await client.make('612');
  await until('the PBX records two seconds', () => {
    const file = pbx.recordings().find((f) => !before.has(f));
    return file && statSync(file).size > 2 * 16_000; // its header has no length before its end
  });
  await client.hangup(callID);
  await pbx.callEnd(since);
  const file = pbx.recordings().find((f) => !before.has(f));
  const { samples } = readWav(file);
  let peak = 0;
  for (const s of samples) peak = Math.max(peak, Math.abs(s));
  report.check('a call without a browser is silent at the PBX', peak < 0.001, `peak ${peak.toFixed(5)} in ${samples.length} samples`);
}
