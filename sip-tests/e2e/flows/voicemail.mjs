// A PBX that records sends no RTP, only reports: the media timeout does not end such a call.
import { sleep, until } from '../lib/process.mjs';

export const name = 'a PBX that only listens';

export async function run({ report, variant, pbx }) {
  const { client, browser, stop } = await variant({ name: 'voicemail', timeout: '8s' });
  try {
    const since = pbx.mark();
    const callID = await client.make('605'); // answers, then sends nothing
    const page = await browser.page();
    await browser.attach(page, { api: client.base, token: client.token, callID });
    await until('active', async () => (await client.status(callID)).state === 'active');
    await sleep(18_000);
    report.equal('after more than twice the media timeout', (await client.status(callID)).state, 'active');
    await client.hangup(callID);
    const figures = await pbx.callEnd(since);
    report.check('the PBX heard the browser all the time', figures.rtp_in > 800 && figures.rtp_out === '0', `in ${figures.rtp_in}, out ${figures.rtp_out}`);
    await page.close();
  } finally {
    await stop();
  }
}
