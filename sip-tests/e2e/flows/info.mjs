// Keys by SIP INFO, with an Asterisk whose trunk has dtmf_mode=info: each key once, in both directions.
import { sleep } from '../lib/process.mjs';
import { Listener } from '../lib/sipedge.mjs';

export const name = 'keys by INFO';

export async function run({ report, pbx, variant }) {
  const inbound = 'inbound = "off"\ndtmf = "info"';
  const { client, browser, stop } = await variant({ name: 'info', user: 'trunk-info', password: 'trunk-info-pw', inbound });
  try {
    const listener = new Listener(client);
    await listener.opened;
    const keys = async (callID, count) => {
      const got = [];
      while (got.length < count) got.push((await listener.next('call.dtmf', callID, 15_000)).digit);
      await sleep(500);
      return got.join('') + listener.events.filter((e) => e.event === 'call.dtmf').map((e) => e.digit).join('');
    };

    // 603 reads four keys and sends them back
    let since = pbx.mark();
    const typed = await client.make('603');
    await listener.next('call.state', typed);
    const page = await browser.page();
    await browser.attach(page, { api: client.base, token: client.token, callID: typed });
    await client.ask('POST', '/call/dtmf', { callID: typed, digits: '12*', duration: 120 });
    // the last one is pressed in the browser, whose media tells it (RFC 4733)
    await page.evaluate(() => window.connection().getSenders()[0].dtmf.insertDTMF('9', 120));
    report.equal('keys that came back, each once', await keys(typed, 4), '12*9');
    const sent = [...since().matchAll(/^Signal=(.)\r?\n^Duration=(\d+)/gm)].map(([, key]) => key).join('');
    report.check('all went by INFO', sent.startsWith('12*9'), sent);
    report.check('of the length that was asked for', /^Signal=1\r?\n^Duration=120/m.test(since()));
    report.check('no description names telephone-events', !/telephone-event/.test(since()));
    await page.close();

    // 604 sends all keys
    since = pbx.mark();
    const all = await client.make('604');
    report.equal('all keys of the PBX', await keys(all, 12), '0123456789*#');
    await client.hangup(all);
    await listener.stop();
  } finally {
    await stop();
  }
}
