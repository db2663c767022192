// SRTP towards the PBX with keys in the descriptions: wanted, optional, and refused where one side has none.
import { calledByPbx } from '../lib/tones.mjs';
import { calls, dials, trunkOf } from '../lib/secure.mjs';
import { until } from '../lib/process.mjs';
import { Listener } from '../lib/sipedge.mjs';

export const name = 'SDES-SRTP towards the PBX';

export async function run(ctx) {
  console.log('  -- both sides encrypt');
  await calls(ctx, { endpoint: 'sdes', secure: '1', media: 'media_encryption = "sdes"' });
  console.log('  -- optional, and the PBX does');
  await calls(ctx, { endpoint: 'sdes', secure: '1', media: 'media_encryption = "sdes-optional"', holds: false });
  console.log('  -- optional, and the PBX does not');
  await calls(ctx, { endpoint: 'trunk-in', secure: '0', media: 'media_encryption = "sdes-optional"', holds: false });
  console.log('  -- short tags');
  await shortTags(ctx);
  console.log('  -- wanted, and the PBX does not');
  await refused(ctx);
}

/** A PBX whose own calls have tags of 32 bits. (GCM is for the unit tests: Debian's Asterisk has none.) */
async function shortTags(ctx) {
  const { report, pbx } = ctx;
  const { client, browser, sip, stop } = await trunkOf(ctx, 'sdes-32', { media: 'media_encryption = "sdes"' });
  try {
    const since = await calledByPbx({ report, client, browser, pbx, what: 'short tags', call: () => dials(pbx, 'sdes-32', sip) });
    report.equal('short tags: encrypted, says the PBX', (await pbx.callEnd(since)).secure, '1');
    report.check('short tags: agreed on', /SIP\/2.0 200 OK[^]*?a=crypto:\d+ AES_CM_128_HMAC_SHA1_32 inline:/.test(since()));
  } finally {
    await stop();
  }
}

/** What one side wants encrypted and the other has only in clear is no call, and both are told why. */
async function refused(ctx) {
  const { report, pbx } = ctx;
  const { client, sip, sipedge, stop } = await trunkOf(ctx, 'trunk-in', { media: 'media_encryption = "sdes"' });
  try {
    const callID = await client.make('602');
    const ended = await until('its end', async () => {
      const call = await client.status(callID);
      return call.state === 'ended' && call;
    });
    report.equal('a PBX without SRTP takes no encrypted call', ended.endReason, 'failed');
    const listener = new Listener(client);
    await listener.opened;
    const since = pbx.mark();
    await dials(pbx, 'trunk-in', sip);
    const warning = await until('a refusal of its own call', () => since().match(/SIP\/2.0 488[^]*?Warning: (.*)/)?.[1]);
    report.check('a call in clear gets 488 and the reason', /not encrypted, and trunk.NAME.media_encryption is sdes/.test(warning), warning);
    report.check('nobody is rung', !listener.events.some((e) => e.event === 'call.incoming'));
    await listener.stop();
    await until('the log says so too', () => /WARN.*not encrypted/.test(sipedge.output));
    const keys = [...pbx.log().matchAll(/inline:([A-Za-z0-9+/=]{20,})/g)].map((m) => m[1]);
    report.check('no key stands in the log', keys.length > 0 && !keys.some((key) => sipedge.output.includes(key)), `${keys.length} keys`);
  } finally {
    await stop();
  }
}
