// Who is heard in a page, one party after the other.
import { sleep, until } from './process.mjs';

/** A party that stays hears no gap longer than this. */
export const GAP_MS = 200;

/** Asterisk's Milliwatt(), and our own extension `tone`. */
export const TONE_HERTZ = 1004;
const WINDOWS = 5;
export const PURE = 0.9;

/**
 * What a page hears of a tone, a window of `seconds` (about) long: a browser that gets too little of a busy machine stretches a tone
 * or falls silent for a moment, so the first window with the tone in it (and nothing else where it is to be `pure`) is taken, and of five bad ones the purest.
 */
export async function listenFor(page, hertz, { seconds = 0.5, pure = false } = {}) {
  const heard = [];
  const isIt = (h) => Math.abs(h.hertz - hertz) <= hertz / 100 && (!pure || h.purity > PURE);
  while (heard.length < WINDOWS && !heard.some(isIt)) heard.push(await page.evaluate((s) => window.hear(s), seconds));
  if (heard.length > 1) console.log(`  heard in turn: ${heard.map((h) => `${h.hertz.toFixed(0)} Hz (purity ${h.purity.toFixed(2)}, ${h.level.toFixed(0)} dBFS)`).join(', ')}`);
  return heard.sort((a, b) => isIt(b) - isIt(a) || b.purity - a.purity)[0];
}

/** The page hears this frequency; `pure`: and a steady tone of it, which the bursts of a microphone are not. */
export async function hears({ report }, page, what, hertz, { seconds, pure } = {}) {
  const heard = await listenFor(page, hertz, { seconds, pure });
  report.near(what, heard.hertz, hertz, hertz / 100, 'Hz');
  if (pure) report.check(`${what}: it is a pure tone`, heard.purity > PURE, heard.purity.toFixed(4));
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
