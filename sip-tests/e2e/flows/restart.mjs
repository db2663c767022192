// An ICE restart within one connection: new credentials, the same DTLS, and the tone goes on.
import { TONE_HERTZ, hears, listenFor } from '../lib/hearing.mjs';
import { FEW } from '../lib/tones.mjs';
import { until } from '../lib/process.mjs';

export const name = 'ICE restart';

export async function run({ report, api, browser, pbx, account }) {
  const client = api(account('pcmu'));
  const since = pbx.mark();
  const callID = await client.make('602');
  const options = { api: client.base, token: client.token, callID };
  const page = await browser.page();
  await browser.attach(page, options);
  await until('active', async () => (await client.status(callID)).state === 'active');
  await hears({ report }, page, 'before: frequency', TONE_HERTZ);
  const traffic = pbx.mark();

  let before = await page.evaluate(() => window.statistics());
  for (const which of ['first', 'second']) {
    // beside the restart: what the browser hears from second to second
    const listening = page.evaluate(() => window.hear(2));
    const restarted = await page.evaluate((o) => window.restart(o), options);
    const during = await listening;
    report.check(`${which} restart: another ufrag of ours`, restarted.ufrags[0] !== restarted.ufrags[1], restarted.ufrags.join(', '));
    report.equal(`${which} restart: the same certificate`, restarted.fingerprints[1], restarted.fingerprints[0]);
    report.equal(`${which} restart: the DTLS roles stay`, restarted.setups[1], restarted.setups[0]);
    report.near(`${which} restart, meanwhile: level`, during.level, -6.18, 1, 'dBFS');

    const { hertz, level } = await listenFor(page, TONE_HERTZ, { seconds: 1 });
    report.near(`${which} restart: frequency`, hertz, TONE_HERTZ, TONE_HERTZ / 100, 'Hz');
    report.near(`${which} restart: level`, level, -6.18, 1, 'dBFS');
    const after = await page.evaluate(() => window.statistics());
    report.check(`${which} restart: the browser uses its new ufrag`, after.ufrag !== before.ufrag, `${before.ufrag}, ${after.ufrag}`);
    report.equal(`${which} restart: the same transport`, `${after.transport} ${after.dtls} ${after.dtlsRole} ${restarted.same}`, `${before.transport} connected ${before.dtlsRole} true`);
    report.equal(`${which} restart: states in between`, restarted.states.filter((s) => s !== 'connected' && s !== 'connecting').join(), '');
    report.check(`${which} restart: packets both ways`, after.received - before.received > 100 && after.sent - before.sent > 100, `in ${after.received - before.received}, out ${after.sent - before.sent}`);
    report.check(`${which} restart: next to nothing lost on the way to the browser`, after.lost - before.lost <= FEW, `${after.lost - before.lost}`);
    before = after;
  }
  report.equal('the call goes on', (await client.status(callID)).state, 'active');
  // longer than it takes to lose consent: it is asked for with the new credentials
  await new Promise((done) => setTimeout(done, 17_000));
  await hears({ report }, page, '17 s later: frequency', TONE_HERTZ);
  report.equal('17 s later: the connection', await page.evaluate(() => window.connection().connectionState), 'connected');
  report.equal('SIP messages in the meantime', (traffic().match(/(INVITE|BYE|UPDATE|CANCEL) sip:/g) ?? []).length, 0);

  // another connection takes its place as before
  const next = await browser.page();
  await browser.attach(next, options);
  await hears({ report }, next, 'another connection: frequency', TONE_HERTZ);
  await client.hangup(callID);
  const figures = await pbx.callEnd(since);
  report.check('the PBX lost next to nothing of its stream', Number(figures.lost_in) <= 2 * FEW, `in ${figures.rtp_in}, lost ${figures.lost_in}`);
  await Promise.all([page, next].map((p) => p.close()));
}
