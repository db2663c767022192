// Calls that end in every way that a PBX, a network or a client can choose.
import { sleep, until } from '../lib/process.mjs';

export const name = 'endings';

async function ends(client, number, options, ms) {
  const start = Date.now();
  const callID = await client.make(number, options);
  const call = await until(`${number} ends`, async () => {
    const c = await client.status(callID);
    return c.state === 'ended' && c;
  }, ms, 40);
  return { reason: call.endReason, seconds: (Date.now() - start) / 1000, call };
}

export async function run({ report, api, browser, pbx, account }) {
  const anna = api(account('pcmu'));
  const within = (what, { reason, seconds }, wanted, from, to) => {
    report.equal(`${what}: reason`, reason, wanted);
    report.check(`${what}: between ${from} and ${to} s`, seconds >= from && seconds <= to, `${seconds.toFixed(2)} s`);
  };
  // runs beside the others, for it takes half a minute
  const hole = ends(api(account('hole')), '600', {}, 40_000);

  within('wrong password', await ends(api(account('wrong')), '600', {}, 10_000), 'failed', 0, 2);
  within('607 busy', await ends(anna, '607', {}, 10_000), 'busy', 0, 1);
  within('608 congestion', await ends(anna, '608', {}, 10_000), 'failed', 0, 1);
  within('closed port', await ends(api(account('closed')), '600', {}, 10_000), 'failed', 0, 1);

  let since = pbx.mark();
  within('611 rings, timeout 5', await ends(anna, '611', { timeout: 5 }, 10_000), 'timeout', 5, 6);
  // the API may tell of the end before the PBX has written down what it got
  await until('611: CANCEL on the wire', () => /CANCEL sip:611@/.test(since()));
  await until('the PBX answered the CANCEL with 487', () => /SIP\/2.0 487/.test(since()));

  since = pbx.mark();
  const ringing = await anna.make('611');
  await until('ringing', async () => (await anna.status(ringing)).state === 'ringing');
  const cancelled = await anna.hangup(ringing);
  report.equal('hung up while ringing', cancelled.json.call.endReason, 'cancelled');
  await until('CANCEL on the wire', () => /CANCEL sip:611@/.test(since()));

  const callID = await anna.make('613');
  const page = await browser.page();
  await browser.attach(page, { api: anna.base, token: anna.token, callID });
  await until('ended', async () => (await anna.status(callID)).state === 'ended');
  report.equal('613 hung up by the PBX', (await anna.status(callID)).endReason, 'remote_ended');
  await until('the browser is told', () => page.evaluate(() => ['closed', 'failed', 'disconnected'].includes(window.connection().connectionState)), 10_000);
  await page.close();

  since = pbx.mark();
  const active = await anna.make('605');
  await until('active', async () => (await anna.status(active)).state === 'active');
  await sleep(1500); // nobody attached: silence keeps the call up
  const hungUp = await anna.hangup(active);
  report.equal('hung up by the client', hungUp.json.call.endReason, 'user_ended');
  const figures = await pbx.callEnd(since);
  report.check('silence reached the PBX while detached', figures.rtp_in >= 50, `${figures.rtp_in} packets`);
  report.equal('hung up again', (await anna.hangup(active)).status, 404);

  within('black hole', await hole, 'failed', 31, 33);
}
