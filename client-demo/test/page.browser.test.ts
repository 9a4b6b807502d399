import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import ffmpeg from '@ffmpeg-installer/ffmpeg';
import type { Browser, Page, WebSocketRoute } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { App } from '../../server/app.ts';
import { selfSignedCertificate } from '../../testing/certificate.ts';
import { launchBrowser } from '../../testing/browser.ts';
import { until } from '../../testing/until.ts';
import {
  Pages,
  choose,
  chooseRadio,
  fitsWidth,
  goLive,
  moving,
  notice,
  overlay,
  playing,
  startServer as start,
  type Opened,
} from './pages.ts';
import { UdpRelay } from './udp-relay.ts';

/** The page in a real Chromium against the real server: what a person sees and does. */

const PICTURES = 'test-output';
const pages = new Pages();
let browser: Browser;
let app: App;

beforeAll(async () => {
  mkdirSync(PICTURES, { recursive: true });
  browser = await launchBrowser();
  app = await start();
});
afterAll(async () => {
  await browser.close();
  await app.close();
});
afterEach(() => pages.close());

const open = (url: string, from = browser, viewport?: { width: number; height: number }): Promise<Opened> =>
  pages.open(url, from, viewport);

const tile = (page: Page, key: string) => page.locator(`.tile[data-key=${key}]`);

/** What the server sends to the viewers of a broadcast, or to its publisher's own page. */
function shown(name: string, own: boolean): unknown[] {
  const state = JSON.parse(JSON.stringify(app.registry.get(name))) as {
    audience: { subscribers: { own: boolean; shown: unknown }[] };
  };
  return state.audience.subscribers.filter((each) => each.own === own).map((each) => each.shown);
}

/** Figures arrive once a second; a number above zero means that media is measured. */
async function figure(page: Page, key: string): Promise<number> {
  const text = await tile(page, key).locator('.tile-value').innerText();
  return Number.parseFloat(text) * (text.includes('Mbit') ? 1000 : 1);
}

describe('publishing and watching', () => {
  it('publishes the sample clip to a watcher who was there before, shows both pictures and the rates', async () => {
    const watcher = await open(`${app.url}/watch/stage`);
    await overlay(watcher.page).getByText('“stage” is not live').waitFor();

    const studio = await open(app.url);
    // 150 kbit/s: below what the server's encoder spends even when a busy machine makes the viewers' estimates low.
    await studio.page.getByRole('slider', { name: 'Quality / data' }).fill('3');
    await goLive(studio.page, 'Sample', 'stage');
    await Promise.all([playing(studio.page), playing(watcher.page)]);

    for (const { page } of [studio, watcher]) {
      const original = page.locator('.picture-original video');
      if (page === watcher.page) {
        // A viewer lands in the result, and the original is not sent to it until a mode shows it.
        expect(await original.evaluate((video: HTMLVideoElement) => video.videoWidth)).toBe(0);
        expect(shown('stage', false)).toEqual([{ result: true, source: false }]);
        await choose(page, 'Slider');
      }
      await page.locator('.stage[data-mode=wipe]').waitFor();
      expect(shown('stage', page === studio.page)).toEqual([{ result: true, source: true }]);
      expect(await original.evaluate((video: HTMLVideoElement) => [video.videoWidth, video.videoHeight])).toEqual([
        320, 180,
      ]);
      // The first second's figures are of less than a second.
      await until(async () => {
        const uplink = await figure(page, 'uplink');
        return uplink > 30 && (await figure(page, 'result')) > uplink;
      });
      expect(await tile(page, 'viewers').locator('.tile-value').innerText()).toBe('1');
      // A resize is called one, here and everywhere.
      expect(await page.locator('.tag-result').innerText()).toBe('Plain resize 1280×720');
      const text = await page.locator('body').innerText();
      expect(text.replaceAll('no super-resolution', '')).not.toMatch(/super-resolution/i);
    }
    expect(await studio.page.getByLabel('Link for viewers').inputValue()).toBe(`${app.url}/watch/stage`);
    expect(await studio.page.locator('.broadcasts').innerText()).toContain('stage');
    await studio.page.screenshot({ path: `${PICTURES}/page-live.png`, fullPage: true });

    await studio.page.getByRole('button', { name: 'Stop' }).click();
    await overlay(watcher.page).getByText('“stage” has gone off air').waitFor();
    await studio.page.getByText('No broadcasts yet').waitFor();
    await goLive(studio.page, 'Sample', 'stage');
    await playing(watcher.page);
    expect([...studio.errors, ...watcher.errors]).toEqual([]);
  });

  it('publishes the camera at the chosen size, and changes size while live', async () => {
    const { page, errors } = await open(app.url);
    await chooseRadio(page, '270p');
    await goLive(page, 'Camera', 'camera-size');
    await playing(page, 1920, 1080);
    await chooseRadio(page, '180p');
    // What is sent follows at once; the size of the result is the server's business.
    await page.waitForFunction(() => {
      const video = document.querySelector<HTMLVideoElement>('.picture-original video');
      return video?.videoWidth === 320 && video.videoHeight === 180;
    });
    await tile(page, 'uplink').getByText('320×180').waitFor();
    expect(errors).toEqual([]);
  });

  it('keeps to the bit-rate cap, and to the size even then', async () => {
    const { page } = await open(app.url);
    await page.getByRole('slider', { name: 'Quality / data' }).fill('3');
    await chooseRadio(page, '270p');
    await goLive(page, 'Camera', 'thin');
    await playing(page, 1920, 1080);
    await until(async () => (await figure(page, 'uplink')) > 0);
    const rates: number[] = [];
    for (let second = 0; second < 6; second += 1) {
      await page.waitForTimeout(1000);
      rates.push(await figure(page, 'uplink'));
    }
    // Sound (about 40) and packet headers come on top of the 150 kbit/s for the picture.
    expect(rates.reduce((sum, rate) => sum + rate, 0) / rates.length).toBeLessThan(260);
    expect(await tile(page, 'uplink').innerText()).toContain('480×270');
  });

  it('publishes a large file with sound at the chosen height', async () => {
    const file = `${PICTURES}/large.mp4`;
    const inputs = ['-f', 'lavfi', '-i', 'testsrc=size=1366x768:rate=25', '-f', 'lavfi', '-i', 'sine=frequency=440'];
    const encoding = ['-t', '4', '-c:v', 'libx264', '-preset', 'ultrafast', '-pix_fmt', 'yuv420p', '-c:a', 'aac'];
    execFileSync(ffmpeg.path, ['-y', '-loglevel', 'error', ...inputs, ...encoding, file]);
    const { page, errors } = await open(app.url);
    await choose(page, 'File');
    await page.getByLabel('Video file').setInputFiles(file);
    await chooseRadio(page, '180p');
    await goLive(page, 'File', 'from-file');
    await page.waitForFunction(() => {
      const video = document.querySelector<HTMLVideoElement>('.stage:not(.covered) .picture-original video');
      return video?.videoHeight === 180 && Math.abs(video.videoWidth - 320) <= 2;
    });
    await page.getByRole('button', { name: 'Unmute' }).click();
    await page.getByText('All figures').click();
    await page.getByText(/on, delayed by/).waitFor();
    expect(errors).toEqual([]);
  });

  it('says when a file has no picture that the browser can play', async () => {
    const { page } = await open(app.url);
    await goLive(page, 'File', 'no-file');
    await notice(page).getByText('Choose a video file first.').waitFor();
    await page.getByLabel('Video file').setInputFiles('package.json');
    await page.getByRole('button', { name: 'Go live' }).click();
    await notice(page).getByText('package.json cannot be played.').waitFor();
  });

  it('publishes a screen at the chosen height, and says when sharing is stopped', async () => {
    const { page, errors } = await open(app.url);
    await page.evaluate(() => {
      const devices = navigator.mediaDevices;
      const original = devices.getDisplayMedia.bind(devices);
      devices.getDisplayMedia = async (options) => {
        const stream = await original(options);
        Object.assign(window, { shared: stream.getTracks() });
        return stream;
      };
    });
    await goLive(page, 'Screen', 'screen');
    await page.waitForFunction(() => {
      const video = document.querySelector<HTMLVideoElement>('.stage:not(.covered) .picture-original video');
      return video?.videoHeight === 180;
    });
    // The browser's own "Stop sharing" ends the track; only it can, so the event is made here.
    await page.evaluate(() => {
      for (const track of (window as unknown as { shared: MediaStreamTrack[] }).shared) {
        track.dispatchEvent(new Event('ended'));
      }
    });
    await notice(page).getByText('Screen sharing was stopped.').waitFor();
    await page.getByRole('button', { name: 'Go live' }).waitFor();
    expect(errors).toEqual([]);
  });

  it('goes on when the clip starts over', async () => {
    const { page } = await open('about:blank');
    await page.addInitScript(() => {
      const create = document.createElement.bind(document);
      document.createElement = (tag: string, options?: ElementCreationOptions) => {
        const element = create(tag, options);
        // A player that loops seeks to its start.
        if (tag === 'video') element.addEventListener('seeked', () => Object.assign(window, { startedOver: true }));
        return element;
      };
    });
    await page.goto(app.url);
    await goLive(page, 'Sample', 'loop');
    await moving(page);
    await page.waitForFunction(() => 'startedOver' in window);
    await moving(page);
  });
});

describe('comparing', () => {
  it('moves the divider by keyboard, and shows side by side, result and original', async () => {
    const { page } = await open(app.url);
    await goLive(page, 'Sample', 'compare');
    await moving(page);
    const slider = page.getByRole('slider', { name: 'Divider' });
    await slider.focus();
    for (let press = 0; press < 20; press += 1) await page.keyboard.press('ArrowRight');
    const wipe = () =>
      page.locator('.pictures').evaluate((element: HTMLElement) => element.style.getPropertyValue('--wipe'));
    expect(await wipe()).toBe('60%');
    const box = async (name: string) => (await page.locator(`.picture-${name}`).boundingBox()) ?? { x: 0, width: 0 };
    await choose(page, 'Side by side');
    const [original, result] = [await box('original'), await box('result')];
    expect(original.x + original.width).toBeLessThanOrEqual(result.x);
    // Neither picture gets more room than the other.
    expect(Math.abs(original.width - result.width)).toBeLessThan(1);
    await choose(page, 'Result');
    expect(await page.locator('.picture-original').isVisible()).toBe(false);
    await choose(page, 'Original');
    await page.locator('.stage[data-mode=original]').waitFor();
    expect(await page.locator('.picture-result').isVisible()).toBe(false);
    await page.getByRole('button', { name: 'Loupe' }).isEnabled();
  });
});

describe('a phone', () => {
  it('shows everything within 360 pixels of width, idle and live', async () => {
    const phone = { width: 360, height: 780 };
    const studio = await open(app.url, browser, phone);
    await studio.page.getByText('Connected').waitFor();
    expect(await fitsWidth(studio.page)).toBe(true);
    await goLive(studio.page, 'Sample', 'phone');
    const watcher = await open(`${app.url}/watch/phone`, browser, phone);
    await Promise.all([moving(studio.page), moving(watcher.page)]);
    await until(async () => (await figure(watcher.page, 'result')) > 0);
    for (const { page } of [studio, watcher]) {
      await page.getByText('All figures').click();
      expect(await fitsWidth(page)).toBe(true);
    }
    await choose(watcher.page, 'Side by side');
    expect(await fitsWidth(watcher.page)).toBe(true);
    await watcher.page.screenshot({ path: `${PICTURES}/page-phone.png`, fullPage: true });
  });
});

describe('when something is wrong', () => {
  it('says that the camera was refused, and that there is none', async () => {
    const refusing = await launchBrowser({ permission: 'refuse' });
    const without = await launchBrowser({ camera: false });
    try {
      const first = await open(app.url, refusing);
      await goLive(first.page, 'Camera', 'refused');
      await notice(first.page).getByText('Camera access was refused.').waitFor();
      await notice(first.page).getByText('Allow the camera for this site').waitFor();
      await first.page.getByRole('button', { name: 'Go live' }).waitFor();
      await first.page.screenshot({ path: `${PICTURES}/page-refused.png` });
      const second = await open(app.url, without);
      await goLive(second.page, 'Camera', 'none');
      await notice(second.page).getByText('No camera was found.').waitFor();
    } finally {
      await Promise.all([refusing.close(), without.close()]);
    }
  });

  it('says that the server is full, and lets in the next when a place is free', async () => {
    const small = await start({ limits: { maxBroadcasts: 1 } });
    try {
      const first = await open(small.url);
      await goLive(first.page, 'Sample', 'first');
      await moving(first.page);
      const second = await open(small.url);
      await second.page.getByText('1 of 1 in use').waitFor();
      await goLive(second.page, 'Sample', 'second');
      await notice(second.page).getByText('The server is full right now.').waitFor();
      await second.page.screenshot({ path: `${PICTURES}/page-full.png` });
      await first.page.getByRole('button', { name: 'Stop' }).click();
      await second.page.getByText('0 of 1 in use').waitFor();
      await second.page.getByRole('button', { name: 'Go live' }).click();
      await moving(second.page);
    } finally {
      await small.close();
    }
  });

  it('says that a name is taken, and asks for another before sending a wrong one', async () => {
    const owner = await open(app.url);
    await goLive(owner.page, 'Sample', 'mine');
    await moving(owner.page);
    const other = await open(app.url);
    await goLive(other.page, 'Sample', 'mine');
    await other.page.getByText('This name is in use. Choose another name.').waitFor();
    await goLive(other.page, 'Sample', 'not a name');
    await other.page.getByText('Only letters, digits, dot, dash and underscore; one slash for room/name.').waitFor();
    await goLive(other.page, 'Sample', 'mine-2');
    await moving(other.page);
  });

  it('says that a broadcast with such a name cannot be', async () => {
    const { page } = await open(`${app.url}/watch/two%20words`);
    await page.getByRole('heading', { name: 'This page does not exist' }).waitFor();
    await page.getByRole('link', { name: 'See what is live' }).click();
    await page.getByRole('button', { name: 'Go live' }).waitFor();
  });

  it('explains an insecure page, and a page whose origin the server does not know', async () => {
    const mapped = await launchBrowser({ args: ['--host-resolver-rules=MAP camera.example 127.0.0.1'] });
    const url = (to: App) => to.url.replace('localhost', 'camera.example');
    const known = await start({ http: { port: 0, allowedOrigins: [] } });
    try {
      const stranger = await open(url(known), mapped);
      await notice(stranger.page).getByText('refuses the WebSocket of this page').waitFor();
      await notice(stranger.page)
        .getByText(`http.allowedOrigins must contain ${url(known)}`)
        .waitFor();
      await choose(stranger.page, 'Camera');
      await notice(stranger.page).getByText('opened over plain HTTP').waitFor();
    } finally {
      await Promise.all([mapped.close(), known.close()]);
    }
  });
});

describe('HTTPS', () => {
  it('gives a page of another host name the camera, with the certificate from the configuration', async () => {
    const { cert, key } = selfSignedCertificate();
    const files = { tlsCertificateFile: `${PICTURES}/server.crt`, tlsKeyFile: `${PICTURES}/server.key` };
    writeFileSync(files.tlsCertificateFile, cert);
    writeFileSync(files.tlsKeyFile, key);
    const probe = await start();
    const port = Number(new URL(probe.url).port);
    await probe.close();
    const origin = `https://camera.example:${port}`;
    const secure = await start({ http: { port, allowedOrigins: [origin], ...files } });
    const mapped = await launchBrowser({ args: ['--host-resolver-rules=MAP camera.example 127.0.0.1'] });
    try {
      expect(secure.url).toBe(`https://localhost:${port}`);
      const { page, errors } = await open(origin, mapped);
      await goLive(page, 'Camera', 'secure');
      await moving(page);
      expect(errors).toEqual([]);
    } finally {
      await Promise.all([mapped.close(), secure.close()]);
    }
  });
});

describe('coming back', () => {
  /** Every WebSocket of the page goes through here, so that a test can cut it. */
  async function cuttable(page: Page): Promise<{ cut: () => Promise<void>; count: () => number }> {
    const routes: WebSocketRoute[] = [];
    await page.routeWebSocket(/\/ws$/, (route) => {
      route.connectToServer();
      routes.push(route);
    });
    return { cut: async () => routes.at(-1)?.close({ code: 4000 }), count: () => routes.length };
  }

  it('publishes again under its name after the socket was cut, and viewers carry on', async () => {
    const { page, errors } = await open('about:blank');
    const socket = await cuttable(page);
    await page.goto(app.url);
    await goLive(page, 'Sample', 'resumed');
    const watcher = await open(`${app.url}/watch/resumed`);
    await Promise.all([moving(page), moving(watcher.page)]);
    await socket.cut();
    await overlay(page).getByText('Connection lost').waitFor();
    await moving(page);
    await moving(watcher.page);
    expect(socket.count()).toBe(2);
    expect(errors).toEqual([]);
  });

  it('watches again after the socket was cut', async () => {
    const studio = await open(app.url);
    await goLive(studio.page, 'Sample', 'watched');
    const { page } = await open('about:blank');
    const socket = await cuttable(page);
    await page.goto(`${app.url}/watch/watched`);
    await moving(page);
    await socket.cut();
    await overlay(page).getByText('Connection lost').waitFor();
    await moving(page);
  });

  it('finds a new path by ICE restart when packets stop, within the same session', async () => {
    const studio = await open(app.url);
    await goLive(studio.page, 'Sample', 'path');
    const { page } = await open('about:blank');
    const relay = new UdpRelay();
    const sent: string[] = [];
    await page.routeWebSocket(/\/ws$/, (route) => {
      const server = route.connectToServer();
      route.onMessage((message) => {
        const { type } = JSON.parse(String(message)) as { type: string };
        sent.push(type);
        // The page's own candidates would let the server go around the relay.
        if (type !== 'candidate') server.send(message);
      });
      server.onMessage((message) => void relay.rewrite(String(message)).then((text) => route.send(text)));
    });
    try {
      await page.goto(`${app.url}/watch/path`);
      await moving(page);
      relay.setOpen(false);
      await overlay(page).getByText('The connection is interrupted').waitFor();
      while (!sent.includes('restart')) await page.waitForTimeout(100);
      relay.setOpen(true);
      await moving(page);
      expect(sent.filter((type) => type === 'watch')).toHaveLength(1);
    } finally {
      relay.close();
    }
  });

  it('keeps the name over a reload of the publishing page', async () => {
    const { page } = await open(app.url);
    await goLive(page, 'Sample', 'reloaded');
    const watcher = await open(`${app.url}/watch/reloaded`);
    await moving(watcher.page);
    await page.reload();
    await notice(page).getByText('You were live as “reloaded”.').waitFor();
    expect(await page.getByLabel('Channel name').inputValue()).toBe('reloaded');
    await page.getByRole('button', { name: 'Go live' }).click();
    await Promise.all([moving(page), moving(watcher.page)]);
  });

  it('comes back after the server was restarted', async () => {
    const first = await start();
    const { page } = await open(first.url);
    await goLive(page, 'Sample', 'restarted');
    await moving(page);
    const port = Number(new URL(first.url).port);
    await first.close();
    await overlay(page).getByText('Connection lost').waitFor();
    const second = await start({ http: { port } });
    try {
      await moving(page);
    } finally {
      await second.close();
    }
  });
});
