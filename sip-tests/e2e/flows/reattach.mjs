// `close`, then a second offer: audio comes back, and the SIP dialog saw nothing.
import { TONE_HERTZ, hears } from '../lib/hearing.mjs';
import { FEW } from '../lib/tones.mjs';
import { until } from '../lib/process.mjs';

export const name = 'close and a second offer';

export async function run({ report, api, browser, pbx, account }) {
  const client = api(account('pcmu'));
  const callID = await client.make('602');
  const first = await browser.page();
  await browser.attach(first, { api: client.base, token: client.token, callID });
  await until('active', async () => (await client.status(callID)).state === 'active');
  await hears({ report }, first, 'before: frequency', TONE_HERTZ);
  const since = pbx.mark();

  const closed = await client.ask('POST', '/call/webrtc/close', { callID });
  report.equal('close', JSON.stringify(closed.json), JSON.stringify({ callID, closed: true, code: 200, success: true }));
  const again = await client.ask('POST', '/call/webrtc/close', { callID });
  report.equal('close again', again.json.closed, false);
  await until('media closed', async () => (await client.status(callID)).media.webrtc === 'closed');
  const before = await first.evaluate(() => window.statistics());
  const silence = await first.evaluate(() => window.hear(1)); // Chromium fills the gap with faint noise
  const after = await first.evaluate(() => window.statistics());
  report.equal('closed: packets to the browser in 1.3 s', after.received - before.received, 0);
  report.check('closed: silence in the browser', silence.level < -40, `${silence.level.toFixed(1)} dBFS`);
  report.equal('closed: the call goes on', (await client.status(callID)).state, 'active');

  const second = await browser.page();
  await browser.attach(second, { api: client.base, token: client.token, callID });
  await hears({ report }, second, 'after: frequency', TONE_HERTZ);

  // a third page takes over while the second still plays
  const third = await browser.page();
  await browser.attach(third, { api: client.base, token: client.token, callID });
  await hears({ report }, third, 'replaced: frequency', TONE_HERTZ);
  const left = await second.evaluate(() => window.hear(1));
  report.check('replaced: silence in the page before', left.level < -40, `${left.level.toFixed(1)} dBFS`);

  const traffic = since().match(/(INVITE|BYE|UPDATE|CANCEL) sip:/g) ?? [];
  report.equal('SIP messages in the meantime', traffic.length, 0);
  await client.hangup(callID);
  const figures = await pbx.callEnd(since);
  report.check('the PBX lost next to nothing of its stream over three browsers', Number(figures.lost_in) <= 3 * FEW, `in ${figures.rtp_in}, lost ${figures.lost_in}`);
  const gone = await client.ask('POST', '/call/webrtc/offer', { callID, type: 'offer', sdp: 'v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\n' });
  report.equal('an offer to an ended call', `${gone.status} ${gone.json.error}`, '404 call not found');
  await Promise.all([first, second, third].map((page) => page.close()));
}
