// A tone both ways for every codec, and silence where there is no browser.
import { silenceInPbx, toneInBrowser, toneInPbx } from '../lib/tones.mjs';

export const name = 'tones both ways';

export async function run(ctx) {
  for (const codec of ['pcmu', 'pcma', 'g722', 'opus']) {
    console.log(`  -- ${codec}`);
    const client = ctx.api(ctx.account(codec));
    await toneInBrowser({ ...ctx, client, codec });
    await toneInPbx({ ...ctx, client });
    await silenceInPbx({ ...ctx, client });
  }
}
