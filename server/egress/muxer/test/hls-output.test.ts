import { mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { readFilm } from '../../../../testing/film.ts';
import { opusTone } from '../../../../testing/opus-tone.ts';
import { makeStream } from '../../../../testing/pictures.ts';
import { HlsOutput } from '../hls-output.ts';
import type { MediaItem } from '../messages.ts';
import { MuxSession } from '../mux-session.ts';

/** From items to a playlist and its segments. */
const FIRST = 9_000_000;
let parent: string;
let folder: string;
let asked = 0;
beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'hls-'));
  folder = join(parent, 'stage');
  asked = 0;
});
afterEach(() => rmSync(parent, { recursive: true, force: true }));

function session(nowSeconds: number): MuxSession {
  const target = { kind: 'hls', folder, segmentSeconds: 3, window: 3 } as const;
  const output = new HlsOutput(target, () => nowSeconds * 1000);
  return new MuxSession(output, { onRunning: () => undefined, onNeedKeyframe: () => (asked += 1) });
}

function items(seconds: number, keyframes: readonly number[]): MediaItem[] {
  const stream = makeStream({
    ...{ codec: 'H264', width: 160, height: 96 },
    frames: 30 * seconds,
    keyframes,
    firstMediaTime: FIRST,
  });
  const video = stream.map(({ data, mediaTime, keyframe }): MediaItem => {
    return { type: 'video', codec: 'H264', data, mediaTime, keyframe, size: { width: 160, height: 96 } };
  });
  const audio = opusTone(50 * seconds).map((data, index): MediaItem => {
    return { type: 'audio', data, mediaTime: FIRST + index * 1800 };
  });
  return [...video, ...audio].sort((a, b) => a.mediaTime - b.mediaTime);
}

const playlist = (): string => readFileSync(join(folder, 'index.m3u8'), 'utf8');
const segments = (): string[] =>
  readdirSync(folder)
    .filter((name) => name.endsWith('.ts'))
    .sort();

it('writes segments from keyframe to keyframe, the newest in the playlist, and goes on in number after a restart', async () => {
  mkdirSync(folder);
  writeFileSync(join(folder, '1764520000.ts'), 'of an earlier run');
  writeFileSync(join(folder, 'notes.txt'), 'of another program');
  const mux = session(1_764_526_000);
  for (const item of items(18, [90, 180, 270, 360, 450])) mux.handle(item);
  expect(asked).toBe(0);
  mux.close();
  const text = playlist();
  expect(text).toContain('#EXT-X-MEDIA-SEQUENCE:1764526003');
  expect(text.match(/#EXTINF:(\d\.\d+)/g)).toEqual(Array.from({ length: 3 }, () => '#EXTINF:3.000000'));
  expect(text).toContain('#EXT-X-PROGRAM-DATE-TIME:');
  // What has left the playlist stays for players that are behind, for a while.
  expect(segments()).toContain('1764526005.ts');
  expect(segments()).not.toContain('1764520000.ts');
  expect(readdirSync(folder)).toContain('notes.txt');
  expect(readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  const film = await readFilm(join(folder, '1764526004.ts'));
  expect([film.video.codec, film.audio[0]?.codec, film.times.length, film.width]).toEqual(['h264', 'aac', 90, 160]);

  const again = session(1_764_526_100);
  for (const item of items(4, [90])) again.handle(item);
  again.close();
  expect(playlist()).toContain('#EXT-X-MEDIA-SEQUENCE:1764526100');
  expect(playlist()).toContain('#EXT-X-DISCONTINUITY');
});

it('asks for a keyframe when a segment is long enough; a folder that vanishes is an error', () => {
  const mux = session(1_764_526_000);
  const all = items(8, []);
  for (const item of all.filter(({ mediaTime }) => mediaTime < FIRST + 6 * 90_000)) mux.handle(item);
  // Three seconds without one, asked once a second.
  expect(asked).toBeGreaterThanOrEqual(3);
  renameSync(parent, `${parent}-gone`);
  try {
    const rest = all.filter(({ mediaTime }) => mediaTime >= FIRST + 6 * 90_000);
    expect(() => rest.forEach((item) => mux.handle(item))).toThrow('Nothing can be written to');
    const late = session(1_764_526_001);
    expect(() => all.forEach((item) => late.handle(item))).toThrow('the folder or the file in it is gone');
  } finally {
    mux.abandon();
    renameSync(`${parent}-gone`, parent);
  }
});
