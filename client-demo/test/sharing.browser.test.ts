import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Browser, Download, Frame, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { makeToken, tokenHash } from '../../server/access/static-tokens.ts';
import type { App } from '../../server/app.ts';
import type { RecordingEntry } from '../../server/http/recordings.ts';
import { launchBrowser } from '../../testing/browser.ts';
import { readFilm } from '../../testing/film.ts';
import { Pages, chooseRadio, fitsWidth, framesShown, goLive, moving, notice, openIn, startServer } from './pages.ts';

/**
 * A broadcast elsewhere: the player alone (/watch/NAME?embed=1) in a frame of another site and as a browser source of OBS, the player
 * of docs/embed.md, other programs under the channel's name, and files of what a viewer sees.
 */

const [pages, studio] = [new Pages(), new Pages()];
let browser: Browser;
let app: App;
let publisher: Page;
let site: Server;
let siteUrl: string;
/** Of recordings that the operations page starts. */
let folder: string;

beforeAll(async () => {
  site = createServer((request, response) => {
    const frame = new URL(request.url ?? '/', 'http://site').searchParams.get('frame');
    const content = frame === null ? documentedPlayer() : `<iframe src="${frame}" width="640" height="360"></iframe>`;
    response.writeHead(200, { 'Content-Type': 'text/html' }).end(`<!doctype html><title>site</title>${content}`);
  });
  await new Promise<void>((resolve) => site.listen(0, '0.0.0.0', resolve));
  siteUrl = `http://127.0.0.1:${(site.address() as AddressInfo).port}`;
  browser = await launchBrowser();
  const http = { port: 0, embedOrigins: [siteUrl], allowedOrigins: [playerUrl()] };
  folder = mkdtempSync(path.join(tmpdir(), 'sharing-'));
  app = await startServer({ http, model: { name: 'resize', scale: 2 }, api: { folder } });
  const { page } = await studio.open(app.url, browser);
  publisher = page;
  await goLive(page, 'Camera', 'stage');
  await moving(page);
});
afterAll(async () => {
  await browser.close();
  await app.close();
  site.close();
  rmSync(folder, { recursive: true });
});
afterEach(() => pages.close());

/** Another origin than the one that may embed. */
const playerUrl = (): string => siteUrl.replace('127.0.0.1', '127.0.0.2');

function documentedPlayer(): string {
  const text = readFileSync(new URL('../../docs/embed.md', import.meta.url), 'utf8');
  const blocks = [...text.matchAll(/```html\n(.*?)```/gs)].map((match) => match[1] ?? '');
  const player = blocks.find((block) => block.includes('<script')) ?? '';
  return player.replace('https://HOST/whep/NAME', `${app.url}/whep/player`);
}

/** Resolves when the picture moves. */
async function plays(frame: Page | Frame): Promise<void> {
  await frame.waitForFunction(() => {
    const video = document.querySelector('video');
    const playing = document.querySelector('main')?.hasAttribute('data-playing') === true;
    return playing && (video?.getVideoPlaybackQuality().totalVideoFrames ?? 0) > 5;
  });
}

/** By the keyboard. What is hidden until the server has answered takes no key. */
async function unfold(page: Page, title: string): Promise<void> {
  const summary = page.getByText(title);
  await summary.waitFor();
  await summary.press('Enter');
}

const state = (frame: Page | Frame) =>
  frame.locator('video').evaluate(({ muted, paused }: HTMLVideoElement) => ({ muted, paused }));

it('plays muted in a frame of a site that the settings name, with sound by a click, and in no other', async () => {
  const embedded = `${app.url}/watch/stage?embed=1`;
  const { page, errors } = await pages.open(`${siteUrl}/?frame=${encodeURIComponent(embedded)}`, browser);
  await expect.poll(() => page.frames().map((frame) => frame.url())).toContain(embedded);
  const frame = page.frames().find((each) => each.url() === embedded);
  if (frame === undefined) throw new Error('no frame');
  await plays(frame);
  expect(await state(frame)).toEqual({ muted: true, paused: false });
  expect(await frame.locator('a, input, .stage-bar').count()).toBe(0);
  expect(errors).toEqual([]);

  const unmute = frame.getByRole('button', { name: 'Unmute' });
  await unmute.waitFor();
  await page.screenshot({ path: 'test-output/page-embed.png' });
  await frame.locator('video').click({ position: { x: 300, y: 100 } });
  await expect.poll(() => state(frame)).toEqual({ muted: false, paused: false });
  await frame.getByRole('button', { name: 'Mute' }).press('Enter');
  await expect.poll(() => state(frame)).toEqual({ muted: true, paused: false });
  await page.keyboard.press('m');
  await expect.poll(() => state(frame)).toEqual({ muted: false, paused: false });

  // The same site by another origin, and another page of this server.
  const other = siteUrl.replace('127.0.0.1', 'localhost');
  for (const [from, shown] of [
    [other, embedded],
    [siteUrl, `${app.url}/watch/stage`],
  ]) {
    const refused = await pages.open(`${from ?? ''}/?frame=${encodeURIComponent(shown ?? '')}`, browser);
    await expect.poll(() => refused.page.frames().at(-1)?.url()).toBe('chrome-error://chromewebdata/');
    expect(refused.errors.join()).toContain('frame-ancestors');
  }
});

it('fit=pixel is the picture alone, pixel by pixel, with sound where the browser allows it, and nothing while nothing is live', async () => {
  const context = await browser.newContext({ viewport: { width: 640, height: 360 }, deviceScaleFactor: 2 });
  try {
    const page = await context.newPage();
    await page.goto(`${app.url}/watch/stage?embed=1&fit=pixel&sound=1`);
    await plays(page);
    expect(await state(page)).toEqual({ muted: false, paused: false });
    const box = () => page.locator('video').boundingBox();
    await expect.poll(box).toEqual({ x: 0, y: 0, width: 320, height: 180 });
    expect(await page.locator('.overlay, .sound').filter({ visible: true }).count()).toBe(0);

    await page.goto(`${app.url}/watch/nothing?embed=1&fit=pixel`);
    await page.locator('.overlay', { hasText: '“nothing” is not live' }).waitFor({ state: 'attached' });
    expect(await page.locator('.overlay, .sound, video').filter({ visible: true }).count()).toBe(0);
    const backgrounds = await page.evaluate(() =>
      ['html', 'body', 'main'].map((tag) => getComputedStyle(document.querySelector(tag) as Element).backgroundColor),
    );
    expect(new Set(backgrounds)).toEqual(new Set(['rgba(0, 0, 0, 0)']));
  } finally {
    await context.close();
  }
});

it('sound=1 plays muted, with the button, where the browser asks for a click first', async () => {
  const { page } = await pages.open('about:blank', browser);
  await page.addInitScript(() => {
    const play: unknown = Reflect.get(HTMLMediaElement.prototype, 'play');
    // As browsers do it to a page that has not been touched. Not by userActivation: the test's own scripts count as a touch there.
    let touched = false;
    addEventListener('pointerdown', () => (touched = true), { capture: true });
    HTMLMediaElement.prototype.play = function (this: HTMLMediaElement) {
      if (this.muted || touched) return Reflect.apply(play as () => Promise<void>, this, []);
      return Promise.reject(new DOMException('The page was not touched.', 'NotAllowedError'));
    };
  });
  await page.goto(`${app.url}/watch/stage?embed=1&sound=1`);
  await plays(page);
  expect(await state(page)).toEqual({ muted: true, paused: false });
  await page.getByRole('button', { name: 'Unmute' }).click();
  await expect.poll(() => state(page)).toEqual({ muted: false, paused: false });
});

it('the player of docs/embed.md waits for the broadcast, plays it, and comes back after a loss', async () => {
  const { page, errors } = await pages.open(playerUrl(), browser);
  const publisher = await pages.open(app.url, browser);
  const sessions: string[] = [];
  page.on('response', (response) => {
    const location = response.headers()['location'];
    if (response.status() === 201 && location !== undefined) sessions.push(location);
  });
  await page.waitForResponse((response) => response.status() === 409);
  await goLive(publisher.page, 'Sample', 'player');
  const frames = () =>
    page.locator('video').evaluate((video: HTMLVideoElement) => video.getVideoPlaybackQuality().totalVideoFrames);
  await expect.poll(frames).toBeGreaterThan(5);

  const stream = () =>
    page.locator('video').evaluate(({ srcObject }: HTMLVideoElement) => (srcObject as MediaStream).id);
  const first = await stream();
  // The server ends the session; the player notices by DTLS close_notify and asks for another one.
  expect((await fetch(`${app.url}${sessions[0] ?? ''}`, { method: 'DELETE' })).status).toBe(200);
  await expect.poll(stream).not.toBe(first);
  await expect.poll(frames).toBeGreaterThan(5);
  expect(sessions).toHaveLength(2);
  // Said by the page as it is left: without it the place would be taken until consent ends.
  await page.goto('about:blank');
  const left = async () => (await fetch(`${app.url}${sessions[1] ?? ''}`)).status;
  await expect.poll(left).toBe(404);
  expect(errors).toEqual([]);
});

const RECORDING: RecordingEntry = {
  file: 'archive_stage.mp4',
  output: 'archive',
  container: 'mp4',
  url: '/recordings/archive_stage.mp4',
  broadcast: 'stage',
  track: 'source',
  startedAt: '2026-11-30T08:00:00Z',
  bytes: 12_340_000,
  open: true,
};

it('a program publishes with address and token of the panel; “Go live” takes over from it, and it from the page', async () => {
  const context = await pages.context(browser, { width: 360, height: 780 });
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  const { page, errors } = await openIn(context, 'about:blank');
  await page.route('**/recordings', (route) => route.fulfill({ json: { recordings: [RECORDING] } }));
  await page.goto(app.url);
  await unfold(page, 'Recordings on this server');
  const download = page.getByRole('link', { name: `Download ${RECORDING.file}` });
  expect(await download.getAttribute('href')).toBe(RECORDING.url);
  await page.locator('#recordings li').getByText('12.3 MB, original, recording').waitFor();
  await page.getByLabel('Channel name').fill('from-obs');
  await page.getByLabel('Channel name').press('Tab');
  const key = () => page.evaluate(() => localStorage.getItem('flashvsr-live.key.from-obs'));
  expect(await key()).toBeNull();
  await unfold(page, 'Publish from OBS, FFmpeg or GStreamer');
  const address = `${app.url}/whip/from-obs`;
  // The element says that it was opened in a task of its own.
  await expect.poll(() => page.getByRole('textbox', { name: 'Server (WHIP)' }).inputValue()).toBe(address);
  const token = page.getByLabel('Bearer token', { exact: true });
  expect(await token.getAttribute('type')).toBe('password');
  const secret = (await key()) ?? '';
  expect(secret).toMatch(/^[\w-]{32}$/);
  await page.getByText('Keyframe Interval 1 s').waitFor();
  await page.screenshot({ path: 'test-output/page-program-phone.png', fullPage: true });

  await chooseRadio(page, 'FFmpeg');
  const command = page.getByRole('textbox', { name: 'Command' });
  expect(await command.inputValue()).toContain('-authorization ••••');
  await page.getByRole('button', { name: 'Copy: Command' }).click();
  const copied = () => page.evaluate(() => navigator.clipboard.readText());
  await expect.poll(copied).toContain(`-f whip -authorization ${secret} "${address}"`);
  await page.getByRole('button', { name: 'Show: Bearer token' }).click();
  expect(await token.getAttribute('type')).toBe('text');
  expect(await command.inputValue()).toBe(await copied());
  expect(await fitsWidth(page)).toBe(true);

  const program = await pages.open(`${app.url}/health`, browser);
  const publish = () => program.page.evaluate(publishCanvas, { address, secret });
  expect(await publish()).toBe(201);
  await expect.poll(() => app.registry.get('from-obs')?.summary().state).toBe('live');
  await page.reload();
  await notice(page).getByText('“from-obs” is live.').waitFor();
  await goLive(page, 'Sample', 'from-obs');
  await moving(page);
  expect(await key()).toBe(secret);
  expect(await publish()).toBe(201);
  await notice(page).getByText('This broadcast moved to another tab or program.').waitFor();
  expect(errors).toEqual([]);
});

/** In a page: an encoder that knows nothing but address and token. */
async function publishCanvas({ address, secret }: { address: string; secret: string }): Promise<number> {
  const canvas = document.createElement('canvas');
  const context = canvas.getContext('2d');
  setInterval(() => context?.fillRect(Math.random() * 300, Math.random() * 150, 9, 9), 40);
  const peer = new RTCPeerConnection();
  const [track] = canvas.captureStream(25).getVideoTracks();
  if (track !== undefined) peer.addTransceiver(track, { direction: 'sendonly' });
  await peer.setLocalDescription();
  const headers = { 'Content-Type': 'application/sdp', Authorization: `Bearer ${secret}` };
  const answer = await fetch(address, { method: 'POST', headers, body: peer.localDescription?.sdp ?? '' });
  if (answer.ok) await peer.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
  Object.assign(window, { peer });
  return answer.status;
}

const sizeOf = ({ width, height }: { width: number; height: number }): string => `${width}×${height}`;

/** What of `some` stands in `all`, in the order of `all`. */
function inOrder(some: readonly string[], all: readonly string[]): string[] {
  let at = 0;
  return all.filter((each) => each === some[at] && ++at > 0);
}

it('a viewer records the result: a file for each size, named after broadcast and time', async () => {
  const { page, errors } = await pages.open(`${app.url}/watch/stage`, browser);
  await moving(page);
  await page.getByRole('button', { name: 'Unmute' }).waitFor();
  const downloads: Download[] = [];
  page.on('download', (download) => downloads.push(download));
  const film = async (download?: Download) => readFilm((await download?.path()) ?? '');

  await unfold(page, 'Embed and more');
  const whep = page.getByRole('textbox', { name: 'For players (WHEP)' });
  expect(await whep.inputValue()).toBe(`${app.url}/whep/stage`);
  await page.getByText(/The server adds \d/).waitFor();
  await whep.press('Escape');
  await whep.waitFor({ state: 'hidden' });

  await page.evaluate(() => {
    const note = document.querySelector<HTMLElement>('.record-note');
    const news: string[] = [];
    Object.assign(window, { news });
    if (note) new MutationObserver(() => news.push(note.innerText)).observe(note, { childList: true, subtree: true });
  });
  await page.getByRole('button', { name: 'Record the result' }).click();
  const record = page.getByRole('button', { name: 'Stop recording and save' });
  await record.waitFor();
  const recorded = await framesShown(page);
  await expect.poll(() => framesShown(page)).toBeGreaterThan(recorded + 15);
  await chooseRadio(publisher, '270p');
  await page.getByText('The picture is 960×540 now: the recording goes on in another file.').waitFor();
  await expect.poll(() => downloads.length).toBeGreaterThan(0);
  const before = await framesShown(page);
  await expect.poll(() => framesShown(page)).toBeGreaterThan(before + 15);
  await record.click();

  // A sender on a busy machine passes through other sizes: the page says so, and there is a file for each that lasted.
  const news = await page.evaluate(() => (window as unknown as { news: string[] }).news);
  const sizes = ['640×360', ...news.map((text) => /^The picture is (\d+×\d+) now/.exec(text)?.[1] ?? text)];
  await expect.poll(async () => sizeOf(await film(downloads.at(-1)))).toBe(sizes.at(-1));
  const films = await Promise.all(downloads.map(film));
  const recordedSizes = films.map(sizeOf);
  expect(recordedSizes[0]).toBe('640×360');
  expect(recordedSizes).toContain('960×540');
  expect(recordedSizes).toEqual(inOrder(recordedSizes, sizes));
  expect(films[0]?.audio).toEqual([expect.anything()]);
  expect(films.slice(1).flatMap(({ times }) => times).length).toBeGreaterThan(10);

  const names = downloads.map((download) => download.suggestedFilename());
  expect(names[0]).toMatch(/^stage-\d{4}-\d\d-\d\d-\d\d\.\d\d\.\d\d\.(webm|mp4)$/);
  expect(names.slice(1)).toEqual(names.slice(1).map((_, at) => names[0]?.replace(/(\.\w+)$/, `-${at + 2}$1`)));
  expect(errors).toEqual([]);
});

it('the operations page asks for the token once and keeps it in its tab, not in an address', async () => {
  const token = makeToken();
  const tokens = [{ name: 'operator', hash: tokenHash(token), admin: true }];
  const closed = await startServer({
    http: { port: 0, host: '0.0.0.0' },
    access: { mode: 'tokens', tokens, failureDelayMs: 0 },
  });
  try {
    const { page, errors } = await pages.open(`${closed.url}/admin`, browser, { width: 390, height: 844 });
    const field = page.getByLabel('Token with the admin right');
    await field.fill('wrong-token');
    await page.getByRole('button', { name: 'Show the server' }).click();
    await notice(page).getByText('The token is not valid.').waitFor();
    await field.fill(token);
    await page.getByRole('button', { name: 'Show the server' }).click();
    await page.getByText('Nobody publishes at present.').waitFor();
    expect(await notice(page).isVisible()).toBe(false);
    expect(await fitsWidth(page)).toBe(true);
    await page.reload();
    await page.getByText('Nobody publishes at present.').waitFor();
    expect(page.url()).toBe(`${closed.url}/admin`);
    expect(await page.evaluate(() => JSON.stringify({ ...localStorage }))).not.toContain(token);
    await page.getByRole('button', { name: 'Sign out' }).click();
    await field.waitFor();
    const kept = () => page.evaluate(() => JSON.stringify([{ ...sessionStorage }, { ...localStorage }]));
    expect(await kept()).not.toContain(token);
    expect(errors).toEqual([]);
  } finally {
    await closed.close();
  }
});

it('the operations page shows a broadcast, records it and ends it', async () => {
  const { page, errors } = await pages.open(`${app.url}/admin`, browser);
  const stage = page.getByRole('article', { name: 'stage' });
  await stage.getByRole('img', { name: /^Frames: [\d.]+ fps/ }).waitFor();
  await stage.getByText(/^Ladder: rung \d/).waitFor();
  await stage.getByRole('button', { name: 'Record' }).click();
  const outputs = page.getByRole('region', { name: 'Outputs and sources' });
  await outputs.getByText('running').waitFor();
  await stage.getByRole('button', { name: 'Stop recording' }).click();
  await outputs.getByText('stopped').waitFor();
  expect(app.outputs.list()).toMatchObject([{ name: 'rec-stage', type: 'recording', state: 'stopped' }]);
  expect(await fitsWidth(page)).toBe(true);
  await page.screenshot({ path: 'test-output/page-admin.png', fullPage: true });

  // Both clicks at once: the question stands for a time only.
  const end = stage.getByRole('button', { name: 'End it' });
  const asked = await end.evaluate((button: HTMLButtonElement) => {
    button.click();
    const question = button.textContent;
    button.click();
    return question;
  });
  expect(asked).toBe('End it, and refuse the name for 5 minutes?');
  await stage.waitFor({ state: 'detached' });
  await publisher.getByText('The operator has ended this broadcast').first().waitFor();
  expect(errors).toEqual([]);
});
