// A browser attached before the answer hears early media, and is connected when the answer comes.
import { until } from '../lib/process.mjs';

export const name = 'before the answer';

export async function run({ report, api, browser, pbx, account }) {
  const client = api(account('pcmu'));
  const early = await client.make('618');
  const page = await browser.page();
  await browser.attach(page, { api: client.base, token: client.token, callID: early });
  const received = await until('early media', async () => {
    const { received } = await page.evaluate(() => window.statistics());
    return received > 10 && received;
  });
  report.check('early media reaches the browser', received > 10, `${received} packets`);
  const ended = await until('618 ends', async () => {
    const c = await client.status(early);
    return c.state === 'ended' && c;
  });
  // the PBX sends 480 with Reason: Q.850;cause=19, which says that nobody answered (RFC 6432)
  report.equal('480 with "no answer" as its reason', ended.endReason, 'timeout');
  report.equal('it was never answered', ended.answeredAt, null);
  await page.close();

  const since = pbx.mark();
  const ringing = await client.make('609');
  const second = await browser.page();
  await browser.attach(second, { api: client.base, token: client.token, callID: ringing });
  report.equal('connected while it rings', (await client.status(ringing)).state, 'ringing');
  await until('609 answers', async () => (await client.status(ringing)).state === 'active');
  // Chromium's echo canceller leaves little of an echo to measure: packets count here, tones in tones.mjs
  const before = (await second.evaluate(() => window.statistics())).received;
  await until('the echo comes back after the answer', async () => (await second.evaluate(() => window.statistics())).received > before + 40);
  await client.hangup(ringing);
  const figures = await pbx.callEnd(since);
  report.check('packets both ways', figures.rtp_in > 30 && figures.rtp_out > 30, `in ${figures.rtp_in}, out ${figures.rtp_out}`);
  await second.close();
}
