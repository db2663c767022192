// Codecs of a trunk as a list: a PBX that speaks the second one alone is called and calls, with audio both ways.
import { calls } from '../lib/secure.mjs';

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
}
