// Who is heard in a page, one party after the other.
import { sleep, until } from './process.mjs';

/** A party that stays hears no gap longer than this. */
export const GAP_MS = 200;

/** The page hears a frequency, within three windows. */
export async function hears({ report }, page, what, hertz) {
  const heard = [];
  while (heard.length < 3 && !(Math.abs((heard.at(-1)?.hertz ?? 0) - hertz) < hertz / 100)) heard.push(await page.evaluate(() => window.hear(0.5)));
  report.near(what, heard.at(-1).hertz, hertz, hertz / 100, 'Hz');
}

/** Within the last seconds the page heard one party and then the other, and nothing but silence between them, of `allowed` ms at most. */
export async function noGap({ report }, page, what, [before, after], allowed = GAP_MS) {
  const is = (hertz) => (h) => Math.abs(h.hertz - hertz) < hertz / 50;
  // a busy machine hears late
  for (let tries = 0; tries < 20 && !(await page.evaluate(() => window.hearEach(0.1, 0.1))).some(is(after)); tries++) await sleep(100);
  // in one go: measuring takes a busy machine longer than some of what is measured lasts
  const { levels, heard } = await page.evaluate(() => ({ levels: window.heardEnvelope(5, 10), heard: window.hearEach(5, 0.1) }));
  let [longest, now] = [0, 0];
  for (const level of levels) longest = Math.max(longest, (now = level < -45 ? now + 10 : 0));
  const [last, first] = [heard.findLastIndex(is(before)), heard.findIndex(is(after))];
  report.check(`${what}: one party and then the other`, last >= 0 && first > last, heard.map((h) => h.hertz.toFixed(0)).join(' '));
  report.check(`${what}: no gap over ${allowed} ms`, longest <= allowed && (first - last - 1) * 100 <= allowed, `${longest} ms`);
}

/** The calls of an account. */
export const list = async (client) => (await client.ask('GET', '/call/list')).json.calls;
/** Until no channel is left at the PBX. */
export const quiet = (pbx) => until('the PBX is quiet', async () => /^0 active channels/m.test(await pbx.console('core show channels count')));
