// The same call under other conditions: GCM, the wrapped envelope, IPv6, DTLS with a short ClientHello.
import { until } from '../lib/process.mjs';

export const name = 'variants';

export async function run(ctx) {
  const { report, variant, pbx, pbx6 } = ctx;
  await both(ctx, 'GCM', await variant({ name: 'gcm', profiles: ['AEAD_AES_128_GCM', 'AEAD_AES_256_GCM'] }), pbx, (stats) =>
    report.check('GCM: SRTP profile', /GCM/.test(stats.srtp), stats.srtp));
  await both(ctx, 'AES-CM', await variant({ name: 'cm', profiles: ['AES_CM_128_HMAC_SHA1_80'] }), pbx, (stats) =>
    report.check('AES-CM: SRTP profile', /^(SRTP_AES128_CM|AES_CM_128)_HMAC_SHA1_80$/.test(stats.srtp), stats.srtp)); // two spellings of two Chromiums
  await both(ctx, 'wrapped envelope', await variant({ name: 'wrapped', envelope: 'wrapped' }), pbx);
  await both(ctx, 'short ClientHello', await variant({ name: 'nopqc', features: ['WebRtcPqcForDtls'] }), pbx);
  if (pbx6) {
    await both(ctx, 'IPv6', await variant({ name: 'v6', bind: '::1' }), pbx6, (stats) =>
      report.equal('IPv6: the browser talks to', stats.remote, '::1'));
  }
}

async function both({ report }, what, { client, browser, stop }, pbx, examine = () => {}) {
  try {
    const since = pbx.mark();
    const callID = await client.make('602');
    const page = await browser.page();
    await browser.attach(page, { api: client.base, token: client.token, callID });
    await until('active', async () => (await client.status(callID)).state === 'active');
    const { hertz, level } = await page.evaluate(() => window.hear(1));
    report.near(`${what}: frequency`, hertz, 1004, 10.04, 'Hz');
    report.near(`${what}: level`, level, -6.18, 1, 'dBFS');
    const stats = await page.evaluate(() => window.statistics());
    examine(stats);
    await client.hangup(callID);
    const figures = await pbx.callEnd(since);
    report.check(`${what}: packets both ways`, figures.rtp_in > 40 && figures.rtp_out > 40 && figures.lost_in === '0', `in ${figures.rtp_in}, out ${figures.rtp_out}`);
  } finally {
    await stop();
  }
}
