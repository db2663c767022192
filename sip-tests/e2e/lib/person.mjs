// What a person does at the call page, and what they read there.
import { until } from './process.mjs';

export const text = (page, id) => page.locator(`#${id}`).textContent();
export const says = (page, id, wanted, ms = 10_000) => until(`the page says ${wanted}`, async () => wanted.test(await text(page, id)), ms);
export const isShown = (page, id) => page.locator(`#${id}`).waitFor({ state: 'visible', timeout: 10_000 });
export const talks = (page) => says(page, 'timer', /\d\d:\d\d/);
export const focus = (page) => page.evaluate(() => document.activeElement.id);

/** How people come to the page of a server: it is ready for them, but for a stranger. */
export const comer = ({ browser, demo, out }) => async ({ isStranger = false, ...options } = {}) => {
  const page = await browser.person({ url: demo.url, out, ...options });
  if (!isStranger) await says(page, 'link-text', /Ready/);
  return page;
};

export async function dial(page, number) {
  await page.fill('#number', number);
  await page.keyboard.press('Enter');
}

/** By keyboard: one key alone does not end a call. */
export async function hangUp(page) {
  await page.keyboard.press('Escape');
  await page.keyboard.press('Escape');
  await isShown(page, 'idle');
}
