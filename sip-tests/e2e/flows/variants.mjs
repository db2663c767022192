// The same calls under other conditions: SRTP profiles, the wrapped envelope, a short ClientHello, IPv6.
import { toneInBrowser, toneInPbx } from '../lib/tones.mjs';

export const name = 'variants';

export async function run(ctx) {
  const { report, pbx6 } = ctx;
  const profile = (pattern) => (stats) => report.check('SRTP profile', pattern.test(stats.srtp), stats.srtp);
  // two spellings of two Chromiums
  await both(ctx, 'AES-CM', { name: 'cm', profiles: ['AES_CM_128_HMAC_SHA1_80'] }, profile(/^(SRTP_AES128_CM|AES_CM_128)_HMAC_SHA1_80$/));
  await both(ctx, 'GCM, 128 bits', { name: 'gcm128', profiles: ['AEAD_AES_128_GCM'] }, profile(/AEAD_AES_128_GCM/));
  await both(ctx, 'GCM, 256 bits', { name: 'gcm256', profiles: ['AEAD_AES_256_GCM'] }, profile(/AEAD_AES_256_GCM/));
  if (pbx6) {
    await both(ctx, 'IPv6', { name: 'v6', bind: '::1' }, (stats) => report.equal('the browser talks to', stats.remote, '::1'));
  }
  await one(ctx, 'wrapped envelope', { name: 'wrapped', envelope: 'wrapped' });
  await one(ctx, 'short ClientHello', { name: 'nopqc', features: ['WebRtcPqcForDtls'] });
}

async function both(ctx, what, options, examine) {
  await one(ctx, what, options, examine, true);
}

async function one(ctx, what, options, examine, andBack = false) {
  console.log(`  -- ${what}`);
  const { client, browser, sipedge, stop } = await ctx.variant(options);
  const pbx = options.bind ? ctx.pbx6 : ctx.pbx;
  try {
    await toneInBrowser({ ...ctx, client, browser, pbx, codec: 'pcmu', examine });
    if (andBack) await toneInPbx({ ...ctx, client, browser, pbx });
  } catch (error) {
    console.log(sipedge.output.slice(-3000));
    throw error;
  } finally {
    await stop();
  }
}
