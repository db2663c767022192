// DTLS-SRTP towards the PBX, without ICE: two ports with a handshake each, and one for both.
import { calls } from '../lib/secure.mjs';

export const name = 'DTLS-SRTP towards the PBX';

export async function run(ctx) {
  console.log('  -- a handshake for RTP and one for RTCP');
  await calls(ctx, { endpoint: 'dtls', secure: '1', media: 'media_encryption = "dtls"' });
  console.log('  -- feedback profile, RTCP beside RTP');
  await calls(ctx, { endpoint: 'dtls-avpf', secure: '1', media: 'media_encryption = "dtls"\navpf = true' });
}
