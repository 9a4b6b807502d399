import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { tokenHash } from '../../server/access/static-tokens.ts';
import type { App } from '../../server/app.ts';
import { launchBrowser } from '../../testing/browser.ts';
import { until } from '../../testing/until.ts';
import { Pages, choose, fitsWidth, goLive, notice, openIn, overlay, moving, startServer } from './pages.ts';

/** The page as a new user meets it: what was seen to be wrong or missing when it was tried, row by row. */

const PHONE = { width: 360, height: 740 };
const pages = new Pages();
let browser: Browser;
let app: App;

beforeAll(async () => {
  browser = await launchBrowser();
  app = await startServer();
});
afterAll(async () => {
  await browser.close();
  await app.close();
});
afterEach(() => pages.close());

const open = (url: string, viewport?: { width: number; height: number }) => pages.open(url, browser, viewport);
const box = async (page: Page, selector: string) => {
  const found = await page.locator(selector).boundingBox();
  if (found === null) throw new Error(`${selector} is not shown`);
  return { ...found, right: found.x + found.width, bottom: found.y + found.height };
};

/** What a person who cannot see or point would miss: names of controls, the order of headings, icons. */
function faults(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const shown = (element: Element) => element.checkVisibility();
    const found: string[] = [];
    for (const element of document.querySelectorAll('button, a, input, select')) {
      const input = element as HTMLInputElement;
      const label = element.getAttribute('aria-label') ?? input.labels?.[0]?.textContent ?? element.textContent;
      if (shown(element) && label.trim() === '') found.push(`no name: ${element.outerHTML.slice(0, 80)}`);
    }
    let level = 0;
    for (const heading of document.querySelectorAll('h1, h2, h3, h4')) {
      if (!shown(heading)) continue;
      const next = Number(heading.tagName[1]);
      if (next > level + 1) found.push(`h${next} after h${level}: ${heading.textContent}`);
      level = next;
    }
    for (const path of document.querySelectorAll('svg.icon path')) {
      if ((path.getAttribute('d') ?? '') === '') found.push('an icon without a picture');
    }
    if (document.querySelector('svg use, i[data-icon]') !== null) found.push('an icon that is still to be fetched');
    return found;
  });
}

describe('the first screen', () => {
  it('compares before and after, and one click shows it live: no clock, figures or black before the first picture', async () => {
    const { page, errors } = await open(app.url, PHONE);
    await page.getByRole('heading', { name: 'Look sharp on a slow connection.' }).waitFor();
    const stills = page.locator('.picture img');
    await page.waitForFunction(() =>
      [...document.querySelectorAll<HTMLImageElement>('.picture img')].every((i) => i.naturalWidth > 0),
    );
    expect(await stills.evaluateAll((all) => all.map((still) => (still as HTMLImageElement).naturalWidth))).toEqual([
      320, 1280,
    ]);
    await page.getByRole('slider', { name: 'Divider' }).press('ArrowRight');
    await expect.poll(() => page.locator('.pictures').getAttribute('style')).toContain('50.5%');
    await expect.poll(() => fitsWidth(page)).toBe(true);
    await expect.poll(() => faults(page)).toEqual([]);

    await page.evaluate(() => {
      const seen: string[] = [];
      Object.assign(window, { seen });
      const look = (): void => {
        const content = document.querySelector<HTMLElement>('.player')?.dataset['content'];
        const figures = document.querySelector<HTMLElement>('#stats')?.innerText ?? '';
        if (/^(– fps|0\.0 ms)/m.test(figures)) seen.push(`figures without a value: ${figures}`);
        const clock = document.querySelector<HTMLElement>('#live-card')?.hidden === false;
        if (clock && document.querySelector('.overlay-title')?.textContent === 'Connecting')
          seen.push('on air while connecting');
        const original = document.querySelector<HTMLVideoElement>('.picture-original video');
        const mode = document.querySelector<HTMLElement>('.stage')?.dataset['mode'];
        if (content === 'live' && mode === 'wipe' && original?.readyState === 0)
          seen.push('half of the stage is black');
        requestAnimationFrame(look);
      };
      look();
    });
    await page.getByRole('button', { name: 'See it on a sample' }).click();
    await moving(page);
    await page.locator('#stats').waitFor();
    await expect.poll(() => page.evaluate(() => (window as unknown as { seen: string[] }).seen)).toEqual([]);
    await page.getByText('Only this computer can open this link.').waitFor();
    await expect.poll(() => page.title()).toMatch(/^Live: /);
    await page.getByText('All figures').click();
    await expect.poll(() => faults(page)).toEqual([]);
    await expect.poll(() => fitsWidth(page)).toBe(true);

    // The names of the sizes stand in the picture, and the lens below it: a finger would cover what it inspects.
    const [picture, tag] = [await box(page, '.pictures'), await box(page, '.tag-result')];
    expect(tag.right).toBeLessThanOrEqual(picture.right);
    expect(await page.locator('.segmented span').allInnerTexts()).toEqual([
      'Slider',
      'Side by side',
      'Result',
      'Original',
    ]);
    await page.getByRole('button', { name: 'Loupe' }).click();
    await page.locator('.loupe-docked').waitFor();
    expect((await box(page, '.loupe')).y).toBeGreaterThanOrEqual((await box(page, '.pictures')).bottom - 1);
    expect(errors).toEqual([]);
  });

  it('keeps the focus when Enter in the name starts', async () => {
    const { page } = await open(app.url);
    await choose(page, 'Sample');
    await page.getByLabel('Channel name').fill('by-keyboard');
    await page.getByLabel('Channel name').press('Enter');
    await page.waitForFunction(() => document.activeElement?.id === 'start');
    await page.getByRole('button', { name: 'Stop' }).waitFor();
    await expect.poll(() => page.evaluate(() => document.activeElement?.id)).toBe('start');
  });
});

describe('a viewer', () => {
  it('lands in the result, in a stage that uses the window; keys, full screen, 1:1 and a saved comparison', async () => {
    const studio = await open(app.url);
    await goLive(studio.page, 'Camera', 'player');
    const { page, errors } = await open(`${app.url}/watch/player`);
    await moving(page);
    await expect.poll(() => page.getByRole('radio', { name: 'Result' }).isChecked()).toBe(true);
    expect((await box(page, '.stage')).width).toBeGreaterThan(1100);
    await expect.poll(() => page.title()).toBe('Live: player · FlashVSR Live');
    await expect.poll(() => faults(page)).toEqual([]);

    const result = page.locator('.picture-result video');
    const state = () =>
      result.evaluate(({ muted, volume, paused }: HTMLVideoElement) => ({
        muted,
        volume: Math.round(volume * 100),
        paused,
      }));
    await page.getByRole('button', { name: 'Unmute' }).waitFor();
    await page.keyboard.press('m');
    await expect.poll(() => state()).toEqual({ muted: false, volume: 100, paused: false });
    await page.keyboard.press(' ');
    await expect.poll(async () => (await state()).paused).toBe(true);
    await page.keyboard.press(' ');
    await page.waitForFunction(() => !document.querySelector<HTMLVideoElement>('.picture-result video')?.paused);

    const full = page.getByRole('button', { name: 'Full screen' });
    await full.focus();
    await page.keyboard.press('f');
    await page.waitForFunction(() => document.fullscreenElement?.classList.contains('player'));
    // The button learns of it by an event, after that.
    await expect
      .poll(() => page.evaluate(() => document.activeElement?.getAttribute('aria-label')))
      .toBe('Leave full screen');
    await page.keyboard.press('ArrowDown');
    await expect.poll(() => state()).toEqual({ muted: false, volume: 90, paused: false });
    await page.getByRole('slider', { name: 'Volume' }).waitFor();
    await choose(page, 'Side by side');
    await page.locator('.stage[data-mode=split]').waitFor();
    const [original, other] = [await box(page, '.picture-original'), await box(page, '.picture-result')];
    expect(original.right).toBeLessThanOrEqual(other.x);
    await page.getByRole('button', { name: 'Leave full screen' }).click();
    await page.waitForFunction(() => document.fullscreenElement === null);
    await page.keyboard.press('m');
    await expect.poll(async () => (await state()).muted).toBe(true);

    const saved = page.waitForEvent('download');
    await page.getByRole('button', { name: 'Save a picture of the comparison' }).click();
    expect((await saved).suggestedFilename()).toBe('comparison.png');
    await choose(page, 'Result');
    await page.getByRole('button', { name: 'Actual size' }).click();
    const actual = () =>
      page.waitForFunction(() => {
        const video = document.querySelector<HTMLVideoElement>('.picture-result video');
        return document.querySelector<HTMLElement>('.pictures')?.offsetWidth === video?.videoWidth;
      });
    await actual();
    await page.setViewportSize({ width: 800, height: 600 });
    await actual();
    await expect.poll(() => fitsWidth(page)).toBe(true);
    expect(errors).toEqual([]);
  });

  it('of a name that is not live reads since when the page waits, without controls that would do nothing', async () => {
    const { page } = await open(`${app.url}/watch/nothing-here`);
    await overlay(page).getByText('“nothing-here” is not live').waitFor();
    await overlay(page)
      .getByText(/^Waiting since \d/)
      .waitFor();
    await expect.poll(() => page.locator('.stage-bar').isVisible()).toBe(false);
    await expect.poll(() => page.locator('.spinner').count()).toBe(0);
    await overlay(page).getByRole('link', { name: 'See what is live' }).click();
    await page.getByRole('button', { name: 'Go live' }).waitFor();
  });
});

describe('camera and microphone', () => {
  it('are tried before, muted, paused and changed while live, all in one session', async () => {
    const { page, errors } = await open('about:blank');
    const sent: string[] = [];
    await page.routeWebSocket(/\/ws$/, (route) => {
      const server = route.connectToServer();
      route.onMessage((message) => {
        sent.push((JSON.parse(String(message)) as { type: string }).type);
        server.send(message);
      });
    });
    await page.addInitScript(() => {
      const devices = navigator.mediaDevices;
      const original = devices.getUserMedia.bind(devices);
      devices.getUserMedia = async (constraints) => {
        const stream = await original(constraints);
        Object.assign(window, { captured: stream.getTracks() });
        return stream;
      };
    });
    const captured = (kind: string) =>
      page.evaluate((wanted) => {
        const tracks = (window as unknown as { captured: MediaStreamTrack[] }).captured;
        const track = tracks.find((each) => each.kind === wanted);
        return track && { enabled: track.enabled, state: track.readyState };
      }, kind);

    await page.goto(app.url);
    await choose(page, 'Camera');
    await page.getByLabel('Channel name').fill('devices');
    await page.getByRole('button', { name: 'Preview' }).click();
    await page.getByText('Preview, not live').waitFor();
    const level = page.getByRole('meter', { name: 'Microphone level' });
    await until(async () => Number(await level.getAttribute('aria-valuenow')) > 0);
    await expect.poll(() => page.getByLabel('Which microphone').locator('option').count()).toBeGreaterThan(1);
    expect(sent).not.toContain('publish');

    await page.getByRole('button', { name: 'Go live' }).click();
    const watcher = await open(`${app.url}/watch/devices`);
    await Promise.all([moving(page), moving(watcher.page)]);
    await page.getByRole('button', { name: 'Unmute', exact: true }).click();
    await notice(page).getByText('Use headphones to listen here.').waitFor();
    await page.getByRole('button', { name: 'Mute microphone' }).click();
    await until(async () => (await captured('audio'))?.enabled === false);
    await page.getByRole('button', { name: 'Unmute microphone' }).click();
    await until(async () => (await captured('audio'))?.enabled === true);

    await page.getByRole('button', { name: 'Pause camera' }).click();
    await until(async () => (await captured('video'))?.state === 'ended');
    await overlay(watcher.page).getByText('No video is arriving from the broadcaster.').waitFor();
    await page.getByRole('button', { name: 'Resume camera' }).click();
    await Promise.all([moving(page), moving(watcher.page)]);

    await page.getByText('Change source').click();
    const offers = () => sent.filter((type) => type === 'publish' || type === 'restart').length;
    const before = offers();
    await choose(page, 'Sample');
    await until(async () => (await captured('video'))?.state === 'ended');
    expect(offers()).toBe(before);
    await Promise.all([moving(page), moving(watcher.page)]);
    expect([...errors, ...watcher.errors]).toEqual([]);
  });
});

describe('a server that is busy, stops, or is away', () => {
  it('names the model of the present rung, with the reason beside the picture', async () => {
    const { page } = await open('about:blank', PHONE);
    await page.routeWebSocket(/\/ws$/, (route) => {
      const server = route.connectToServer();
      server.onMessage((text) => {
        const message = JSON.parse(String(text)) as { type: string; broadcast?: { model: object } };
        const rung = {
          superResolution: true,
          label: 'nano x4',
          rung: 3,
          rungLabel: 'bicubic resize',
          rungCause: 'load',
        };
        if (message.type === 'stats' && message.broadcast !== undefined) Object.assign(message.broadcast.model, rung);
        route.send(JSON.stringify(message));
      });
    });
    await page.goto(app.url);
    await goLive(page, 'Sample', 'busy');
    await moving(page);
    const note = page.getByText('The server is busy: plain scaling for now, no super-resolution.');
    await note.waitFor();
    expect((await box(page, '.rung-note')).bottom).toBeLessThan(PHONE.height);
    await expect.poll(() => page.locator('.chip-warning').innerText()).toBe('Plain resize');
    await expect.poll(() => page.locator('.chip-accent').count()).toBe(0);
  });

  it('says so once, shows the own picture and nothing of the past; announced, when it stops in order', async () => {
    const server = await startServer();
    try {
      const { page } = await open(server.url);
      await goLive(page, 'Sample', 'away');
      const watcher = await open(`${server.url}/watch/away`);
      await Promise.all([moving(page), moving(watcher.page)]);
      await page.getByText('On air').waitFor();
      server.drain(60);
      for (const each of [page, watcher.page]) await notice(each).getByText('The server is restarting.').waitFor();
      await server.close();
      for (const each of [page, watcher.page]) {
        await overlay(each).getByText('Connection lost').waitFor();
        await overlay(each).getByText('No action needed; reconnecting automatically.').waitFor();
        await notice(each).waitFor({ state: 'hidden' });
        await expect.poll(() => each.locator('#stats, .model').filter({ visible: true }).count()).toBe(0);
        await expect.poll(() => faults(each)).toEqual([]);
        await expect.poll(() => each.title()).not.toContain('Live:');
      }
      await page.getByText('Off air, reconnecting').waitFor();
      await expect.poll(() => page.locator('#live-clock').innerText()).toBe('');
      await page.getByText('The list returns with the connection.').waitFor();
      await page.waitForFunction(() => {
        const own = document.querySelector<HTMLVideoElement>('[data-content=preview] .picture-original video');
        return own !== null && own.videoWidth > 0;
      });
    } finally {
      await server.close();
    }
  });
});

describe('where a key is asked for', () => {
  const KEY = 'the-key-of-the-publisher';
  let guarded: App;

  beforeAll(async () => {
    const tokens = [{ name: 'page', hash: tokenHash(KEY), publish: ['*'], watch: ['*'] }];
    guarded = await startServer({ access: { mode: 'tokens', failureDelayMs: 0, tokens } });
  });
  afterAll(() => guarded.close());

  it('the key of the start page publishes, and the link for viewers has one that only watches, in another browser', async () => {
    const { page, errors } = await open(`${guarded.url}/#key=${KEY}`);
    await expect.poll(() => page.url()).toBe(`${guarded.url}/`);
    await page.getByText('Connected').waitFor();
    await goLive(page, 'Sample', 'keyed');
    const field = page.getByRole('textbox', { name: 'Link for viewers' });
    await expect.poll(() => field.inputValue()).toContain('#key=');
    const link = await field.inputValue();
    expect(link.split('#')[0]).toBe(`${guarded.url}/watch/keyed`);
    expect(link).not.toContain(KEY);

    const viewer = await open(link);
    await moving(viewer.page);
    await viewer.page.getByText('Embed and more').click();
    await viewer.page.getByText('Its bearer token is what stands behind “#key=” in the link.').waitFor();
    // The link's key at the start page: it watches, and does not publish.
    await viewer.page.goto(`${guarded.url}/#${link.split('#')[1] ?? ''}`);
    await viewer.page.locator('#broadcasts').getByText('keyed').waitFor();
    await goLive(viewer.page, 'Sample', 'other');
    await notice(viewer.page).getByText('The token does not give the right to publish "other".').waitFor();
    expect(guarded.registry.get('other')).toBeUndefined();
    expect([...errors, ...viewer.errors]).toEqual([]);
  });

  it('every page says what is missing, and waits for nothing', async () => {
    const { page } = await open(guarded.url);
    await notice(page).getByText('This server opens with a key.').waitFor();
    await page.getByText('Shown to those with a key.').waitFor();
    await page.getByRole('button', { name: 'See it on a sample' }).click();
    await notice(page).getByText('Open the whole link that you were given').waitFor();
    await page.getByRole('button', { name: 'Go live' }).waitFor();

    for (const address of ['/watch/keyed', '/watch/keyed?embed=1']) {
      await page.goto(`${guarded.url}${address}`);
      await overlay(page).getByText('This server opens with a key.').waitFor();
      expect(await page.locator('.spinner').count()).toBe(0);
    }
    await page.goto(`${guarded.url}/watch/keyed#key=wrong`);
    await overlay(page).getByText('The token is not valid.').waitFor();
    expect(await notice(page).isVisible()).toBe(false);
  });
});

describe('the name of a channel', () => {
  it('is kept for the next visit, and one tab at a time is live under it', async () => {
    const context = await pages.context(browser);
    const first = await openIn(context, app.url);
    await goLive(first.page, 'Sample', 'my-channel');
    await moving(first.page);

    const copy = await openIn(context, app.url);
    await copy.page.getByText('Connected').waitFor();
    await expect.poll(() => copy.page.getByLabel('Channel name').inputValue()).not.toBe('my-channel');
    await expect.poll(() => notice(copy.page).isVisible()).toBe(false);
    await goLive(copy.page, 'Sample', 'my-channel');
    await copy.page.getByText('This name is live in another tab of this browser.').waitFor();
    await moving(first.page);

    // A broadcaster whose tab is gone keeps the place for a while: the list says whose it is.
    await first.page.close();
    const stranger = await open(app.url);
    await stranger.page.locator('li', { hasText: 'my-channel' }).getByText('No video right now').waitFor();
    await copy.page.close();
    const next = await openIn(context, app.url);
    await notice(next.page).getByText('You were live as “my-channel”.').waitFor();
    await expect.poll(() => next.page.getByLabel('Channel name').inputValue()).toBe('my-channel');
    await next.page.getByRole('button', { name: 'Go live' }).click();
    await moving(next.page);
  });
});
