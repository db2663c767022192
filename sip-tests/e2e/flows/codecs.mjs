// Codecs of a trunk as a list: a PBX that speaks the second one alone is called and calls, with audio both ways. And a browser
// that offers another codec within the call.
import { TONE_HERTZ, hears } from '../lib/hearing.mjs';
import { calls, trunkOf } from '../lib/secure.mjs';
import { until } from '../lib/process.mjs';

export const name = 'lists of codecs';

export async function run(ctx) {
  for (const [endpoint, codecs, codec, called] of [
    ['only-alaw', ['PCMU', 'PCMA'], 'pcma'],
    ['only-g722', ['PCMU', 'G722'], 'g722'],
    ['only-opus', ['PCMU', 'opus'], 'opus'],
    // one that speaks both: it chooses when it is called, and we do when it calls
    ['trunk-in', ['G722', 'PCMA'], 'pcma', 'g722'],
  ]) {
    console.log(`  -- ${endpoint}: ${codecs.join(', ')}`);
    await calls(ctx, { endpoint, codecs, codec, called, secure: '0', holds: false });
  }
  console.log('  -- another browser comes, with another codec than the PBX has');
  await another(ctx, 'trunk-info', false);
  console.log('  -- and with one that the PBX can change to');
  await another(ctx, 'trunk-in', true);
}

/** A browser that speaks PCMA alone takes a call over that has PCMU; the PBX is asked first. */
async function another(ctx, endpoint, isTaken) {
  const { report, pbx } = ctx;
  const { client, browser, sipedge, stop } = await trunkOf(ctx, endpoint, { codecs: ['PCMU', 'PCMA'] });
  try {
    const callID = await client.make('602');
    const [first, second] = [await browser.page(), await browser.page()];
    await browser.attach(first, { api: client.base, token: client.token, callID });
    await until('active', async () => (await client.status(callID)).state === 'active');
    const tone = (page, what) => hears({ report }, page, what, TONE_HERTZ);
    await tone(first, 'before: frequency');
    await second.evaluate(() => {
      const { createOffer } = RTCPeerConnection.prototype;
      RTCPeerConnection.prototype.createOffer = function offer(...args) {
        const pcma = RTCRtpReceiver.getCapabilities('audio').codecs.filter((c) => c.mimeType === 'audio/PCMA');
        this.getTransceivers().forEach((t) => t.setCodecPreferences(pcma));
        return createOffer.apply(this, args);
      };
    });
    const since = pbx.mark();
    const attached = browser.attach(second, { api: client.base, token: client.token, callID, connect: isTaken });
    if (isTaken) {
      await attached;
      await tone(second, 'changed: frequency');
      report.equal('changed: codec', (await client.status(callID)).media.codec, 'pcma');
    } else {
      await attached.catch(() => {}); // the program takes a refusal for an answer
      await until('the PBX refuses', () => /SIP\/2.0 488/.test(since()));
      await tone(first, 'refused: the first browser still hears');
      report.equal('refused: codec', (await client.status(callID)).media.codec, 'pcmu');
    }
    report.equal('the call goes on', (await client.status(callID)).state, 'active');
    report.equal('the PBX was asked', /INVITE sip:[^]*?m=audio \d+ RTP\/AVP 8 101/.test(since()), true);
    await client.hangup(callID);
    await first.close();
    await second.close();
  } catch (error) {
    console.log(sipedge.output.slice(-3000));
    throw error;
  } finally {
    await stop();
  }
}
