import type { Browser, BrowserContext, Locator, Page } from 'playwright-core';
import { startApp, type App } from '../../server/app.ts';
import { configSchema } from '../../server/config/config.ts';
import { createLog } from '../../server/log.ts';
import { keepManual } from '../../testing/manual-page.ts';
import { until } from '../../testing/until.ts';

/** What the browser tests of the page share: a server, pages, and what a person does and sees. */

const log = createLog({ level: 'silent', format: 'json' });

/** A page that goes away keeps its place for a while, and every test leaves some behind: room for all of them. */
export function startServer(settings: Record<string, unknown> = {}): Promise<App> {
  const defaults = { http: { port: 0 }, model: { name: 'resize' }, limits: { maxBroadcasts: 99 } };
  return startApp(configSchema.parse({ ...defaults, ...settings }), log);
}

export interface Opened {
  readonly page: Page;
  /** Exceptions of the page's scripts. */
  readonly errors: string[];
}

/** The pages of a test, each in a separate context. */
export class Pages {
  readonly #contexts: BrowserContext[] = [];

  async context(browser: Browser, viewport = { width: 1280, height: 900 }): Promise<BrowserContext> {
    const context = await browser.newContext({ viewport, ignoreHTTPSErrors: true });
    this.#contexts.push(context);
    return context;
  }

  async open(url: string, browser: Browser, viewport?: { width: number; height: number }): Promise<Opened> {
    return openIn(await this.context(browser, viewport), url);
  }

  async close(): Promise<void> {
    await Promise.all(this.#contexts.splice(0).map((context) => context.close()));
  }
}

/** A further tab of the same browser. @param manual false: as at the first visit, where size and codec follow the line */
export async function openIn(context: BrowserContext, url: string, manual = true): Promise<Opened> {
  const page = await context.newPage();
  const errors: string[] = [];
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error' && message.text().includes('Content Security Policy')) errors.push(message.text());
  });
  page.setDefaultTimeout(40_000);
  if (manual) await page.addInitScript(keepManual);
  await page.goto(url);
  return { page, errors };
}

export async function choose(page: Page, source: string): Promise<void> {
  await chooseRadio(page, source);
}

/** By its label, as people do: the radio itself has no size, and a click at its place misses when the page grows meanwhile. */
export async function chooseRadio(page: Page, name: string): Promise<void> {
  const radio = page.getByRole('radio', { name, exact: true });
  await page.locator('label').filter({ has: radio }).click();
  await until(() => radio.isChecked());
}

export async function goLive(page: Page, source: string, name: string): Promise<void> {
  await choose(page, source);
  await page.getByLabel('Channel name').fill(name);
  await page.getByRole('button', { name: 'Go live' }).click();
}

/** Resolves when the result is moving, uncovered, at the size given. */
export async function playing(page: Page, width = 1280, height = 720): Promise<void> {
  await page.waitForFunction(
    ([w, h]) => {
      const video = document.querySelector<HTMLVideoElement>('.picture-result video');
      return video?.videoWidth === w && video.videoHeight === h;
    },
    [width, height] as const,
  );
  await moving(page);
}

/** Resolves when the result is moving, uncovered, at any size: a machine under load gives viewers the small rendition. */
export async function moving(page: Page): Promise<void> {
  await page.waitForFunction(() => {
    const shown = document.querySelector<HTMLVideoElement>('.picture-result video');
    // The controls open with the first picture of the source.
    const comparable = document.querySelector<HTMLInputElement>('input[value=wipe]')?.disabled === false;
    const covered = document.querySelector('.stage.covered') !== null;
    return comparable && !covered && (shown?.videoWidth ?? 0) > 0;
  });
  const before = await framesShown(page);
  await until(async () => (await framesShown(page)) > before + 5);
}

export function framesShown(page: Page): Promise<number> {
  const result = page.locator('.picture-result video');
  return result.evaluate((video: HTMLVideoElement) => video.getVideoPlaybackQuality().totalVideoFrames);
}

export const overlay = (page: Page): Locator => page.locator('.overlay');
export const notice = (page: Page): Locator => page.locator('#notice');

export async function fitsWidth(page: Page): Promise<boolean> {
  return page.evaluate(() => document.documentElement.scrollWidth <= innerWidth);
}
