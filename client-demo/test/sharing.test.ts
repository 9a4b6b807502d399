import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { accessKey, linkKey, withKey } from '../assets/access-key.js';
import { browserSourceUrl, embedCode, ffmpegCommand, gstreamerCommand, whepUrl, whipUrl } from '../assets/addresses.js';
import { embedOptions, pixelSize } from '../assets/embed-view.js';

import { PageStore } from '../assets/settings.js';
import { recordingName } from '../assets/stream-recorder.js';
import { memoryStorage } from './memory-storage.ts';

/** What the page gives away: the embedded player, addresses for programs, files. */

it('an embedded page reads its options from the address', () => {
  expect(embedOptions('?embed=1')).toEqual({ fit: 'contain', sound: false });
  expect(embedOptions('?embed=1&fit=pixel&sound=1')).toEqual({ fit: 'pixel', sound: true });
});

it('shows a pixel of the full result on a pixel of the screen, also while the small rendition is decoded', () => {
  const full = { width: 1280, height: 720 };
  expect(pixelSize(full, full, 1)).toEqual({ width: 1280, height: 720 });
  expect(pixelSize(full, { width: 320, height: 180 }, 1.25)).toEqual({ width: 1024, height: 576 });
  expect(pixelSize({ width: 0, height: 0 }, { width: 320, height: 180 }, 2)).toEqual({ width: 160, height: 90 });
});

it('keeps the key of the start page and takes it out of the address; the key of a link stays in that link and its copies', () => {
  const storage = memoryStorage();
  const shown: string[] = [];
  const at = (pathname: string, hash: string) => {
    const location = { pathname, hash, search: '?name=stage' };
    return {
      key: accessKey({ location, storage, replace: (address) => shown.push(address) }),
      link: linkKey(location),
    };
  };
  expect(at('/', '')).toEqual({ key: undefined, link: undefined });
  expect(at('/', '#key=mine')).toEqual({ key: 'mine', link: 'mine' });
  expect(shown).toEqual(['/?name=stage']);
  expect(at('/watch/stage', '#key=theirs')).toEqual({ key: 'theirs', link: 'theirs' });
  // The kept key opens the page, and goes into no copy of its address.
  expect(at('/watch/stage', '')).toEqual({ key: 'mine', link: undefined });
  expect(at('/', '#key=no key')).toEqual({ key: 'mine', link: undefined });
  expect([withKey('/watch/stage', undefined), withKey('/watch/stage', 'theirs')]).toEqual([
    '/watch/stage',
    '/watch/stage#key=theirs',
  ]);
});

it('writes addresses for programs and sites, with the room in them', () => {
  const origin = 'https://live.example.org';
  expect([whipUrl, whepUrl, browserSourceUrl].map((make) => make('room/anna', origin))).toEqual([
    `${origin}/whip/room/anna`,
    `${origin}/whep/room/anna`,
    `${origin}/watch/room/anna?embed=1&fit=pixel`,
  ]);
  expect(embedCode('stage', origin)).toContain(`<iframe src="${origin}/watch/stage?embed=1" `);
});

it('writes commands with the size and rate that the person chose', () => {
  const settings = { url: 'http://[::1]:8080/whip/stage', token: 'secret', height: 270, maxBitrateBps: 500_000 };
  const [ffmpeg, gstreamer] = [ffmpegCommand(settings), gstreamerCommand(settings)];
  expect(ffmpeg).toContain('scale=-2:270');
  expect(ffmpeg).toContain('-b:v 500k -maxrate 500k');
  expect(gstreamer).toContain('height=270');
  expect(gstreamer).toContain('bitrate=500 ');
  // Quoted: brackets are patterns to a shell.
  for (const command of [ffmpeg, gstreamer]) expect(command).toContain('"http://[::1]:8080/whip/stage"');
});

it('writes the commands of docs/clients.md, of which FFmpeg’s is tried by tests/interop', () => {
  const documentation = readFileSync(new URL('../../docs/clients.md', import.meta.url), 'utf8');
  const settings = { url: 'http://HOST:8080/whip/NAME', token: 'SECRET', height: 180, maxBitrateBps: 300_000 };
  expect(documentation).toContain(`\n${ffmpegCommand(settings)}\n`);
  expect(documentation).toContain(`\n${gstreamerCommand(settings)}\n`);
});

it('names a recording after broadcast, time and container', () => {
  const date = new Date(2026, 10, 30, 8, 5, 9);
  expect(recordingName('room/anna', date, 1, 'video/webm;codecs=vp8,opus')).toBe('room-anna-2026-11-30-08.05.09.webm');
  expect(recordingName('stage', date, 3, 'video/mp4;codecs="avc1.640028"')).toBe('stage-2026-11-30-08.05.09-3.mp4');
  expect(recordingName('stage', date, 1, 'video/x-matroska;codecs=avc1')).toMatch(/\.mkv$/);
});

it('keeps one token for programs: that of the running broadcast, or a new one, which outlives it', () => {
  const storage = memoryStorage();
  const store = new PageStore({ tab: storage, browser: storage });
  expect(store.streamKey('stage')).toBeUndefined();
  const key = store.makeStreamKey('stage');
  expect(key).toMatch(/^[\w-]{32}$/);
  store.keepResumeToken('stage', key);
  store.forgetResumeToken('stage');
  expect([store.streamKey('stage'), store.makeStreamKey('stage')]).toEqual([key, key]);
  store.keepResumeToken('live', 'of-the-server');
  expect(store.makeStreamKey('live')).toBe('of-the-server');
});
