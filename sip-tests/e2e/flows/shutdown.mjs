// SIGTERM ends calls with BYE, and the program leaves with success.
import { until } from '../lib/process.mjs';

export const name = 'SIGTERM';

export async function run({ report, variant, pbx }) {
  const { client, browser, sipedge, stop } = await variant({ name: 'term' });
  try {
    const callID = await client.make('602');
    const page = await browser.page();
    await browser.attach(page, { api: client.base, token: client.token, callID });
    await until('active', async () => (await client.status(callID)).state === 'active');
    const since = pbx.mark();
    const start = Date.now();
    const exit = await sipedge.child.stop('SIGTERM');
    report.equal('exit code', exit.code, 0);
    report.check('ended within 3 s', Date.now() - start < 3000, `${Date.now() - start} ms`);
    await until('BYE on the wire', () => /BYE sip:/.test(since()));
    report.check('the log names the cause', /call ended.*cause=shutdown/.test(sipedge.output), '');
    const channels = await pbx.console('core show channels concise');
    report.equal('channels left at the PBX', channels.trim(), '');
  } finally {
    await stop();
  }
}
