// The other party holds: the browser hears the PBX's music on hold, or ours where the PBX sends none, and then the party again.
import { hears } from '../lib/hearing.mjs';
import { Phone } from '../lib/phone.mjs';
import { sleep, until } from '../lib/process.mjs';
import { Listener } from '../lib/sipedge.mjs';
import { MUSIC_HERTZ } from '../lib/pbx.mjs';

export const name = 'held by the other party';

const PARTY_HERTZ = 880;

export async function run(ctx) {
  await byAsterisk(ctx);
  await bySilence(ctx);
}

/** A telephone of Asterisk's holds; Asterisk plays its music on hold to the trunk. */
async function byAsterisk(ctx) {
  const { report, api, browser, pbx, account, started } = ctx;
  console.log('  -- a telephone of the PBX holds');
  const phone = started(await Phone.start({ hertz: PARTY_HERTZ }));
  const client = api(account('anna'));
  const listener = new Listener(client);
  await listener.opened;
  const since = pbx.mark();
  await pbx.console(`channel originate PJSIP/holder/sip:phone@${phone.address} extension 81001@out`);
  const { callID } = (await listener.next('call.incoming')).call;
  await client.ask('POST', '/call/answer', { callID });
  const page = await browser.page();
  await browser.attach(page, { api: client.base, token: client.token, callID });
  await hears(ctx, page, 'before', PARTY_HERTZ, { pure: true });

  phone.talk(false);
  report.equal('the PBX answers the hold', await phone.offers({ direction: 'sendonly' }), 'recvonly');
  await until('the PBX plays music', () => /Started music on hold, class 'tone'/.test(since()));
  await sleep(300);
  await hears(ctx, page, 'music of the PBX', MUSIC_HERTZ, { pure: true });
  report.equal('the call goes on', (await client.status(callID)).state, 'active');

  phone.talk(true);
  report.equal('the PBX answers the resumption', await phone.offers(), 'sendrecv');
  await until('the PBX plays no more music', () => /Stopped music on hold/.test(since()));
  await sleep(300);
  await hears(ctx, page, 'after', PARTY_HERTZ, { pure: true });
  await client.hangup(callID);
  await until('the telephone is hung up', () => !phone.dialog);
  await page.close();
  await listener.stop();
}

/** Whether a frequency is C, D, E, F, G, A or B in equal temperament, whose A is 440 Hz. */
function note(hertz) {
  const steps = 12 * Math.log2(hertz / 440);
  const nearest = Math.round(steps);
  const name = ['A', null, 'B', 'C', null, 'D', null, 'E', 'F', null, 'G', null][((nearest % 12) + 12) % 12];
  return Math.abs(steps - nearest) < 0.25 ? name : null;
}

/** The PBX itself holds, in each of the ways there are, and sends nothing meanwhile. */
async function bySilence(ctx) {
  const { report, variant, started } = ctx;
  console.log('  -- the PBX holds and sends nothing');
  const phone = started(await Phone.start({ hertz: PARTY_HERTZ }));
  // a hold lasts longer than the media timeout
  const { client, browser, stop } = await variant({ name: 'hold', host: phone.address, timeout: '3s' });
  try {
    const callID = await client.make('700');
    const page = await browser.page();
    await browser.attach(page, { api: client.base, token: client.token, callID });
    await hears(ctx, page, 'before', PARTY_HERTZ, { pure: true });
    const ways = [
      ['inactive', { direction: 'inactive' }, /^inactive$/],
      ['a null address', { connection: '0.0.0.0' }, /^(sendrecv|recvonly)$/],
      ['sendonly', { direction: 'sendonly' }, /^recvonly$/],
    ];
    for (const [way, offer, answer] of ways) {
      phone.talk(false);
      const answered = await phone.offers(offer);
      report.check(`hold by ${way}: the answer`, answer.test(answered), answered);
      await sleep(way === 'inactive' ? 2_000 : 3_500);
      const heard = await page.evaluate(() => window.hearEach(1.8, 0.3));
      const notes = heard.map(({ hertz }) => note(hertz));
      const level = heard.map((h) => h.level).sort((a, b) => a - b)[heard.length >> 1];
      report.check(`hold by ${way}: music is heard`, level > -40, `${level.toFixed(1)} dBFS`);
      report.check(
        `hold by ${way}: it is a melody`, notes.filter(Boolean).length >= 0.8 * notes.length && new Set(notes.filter(Boolean)).size >= 2,
        heard.map(({ hertz }, i) => `${notes[i] ?? '?'} ${hertz.toFixed(0)}`).join(', '),
      );
      report.equal(`hold by ${way}: the call goes on`, (await client.status(callID)).state, 'active');
      phone.talk(true);
      await phone.offers();
      await sleep(300);
      await hears(ctx, page, `after the hold by ${way}`, PARTY_HERTZ, { pure: true });
    }
    await client.hangup(callID);
    await page.close();
  } finally {
    await stop();
  }
}
