import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { loadConfig } from '../../config/config.ts';
import { HlsFiles } from '../../egress/hls-files.ts';
import { RecordingLibrary } from '../../egress/recording-library.ts';
import { HttpAccess } from '../authorize.ts';
import { createHttpServer, type HttpServer } from '../server.ts';
import { registerHls } from '../hls.ts';
import { registerRecordings } from '../recordings.ts';
import { accessFor } from '../../../testing/access-for.ts';

/** What outputs wrote, over HTTP: the list of recordings and their download, HLS. */
const NEW = 'room~ann_archive_20261130T180557Z.mp4';
const OLD = 'stage_archive_20261129T000000Z-2.webm';

let folder: string;
let http: HttpServer;
let url: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'recordings-'));
  writeFileSync(join(folder, NEW), '0123456789');
  writeFileSync(join(folder, OLD), 'old');
  // None of these are recordings of this output.
  writeFileSync(join(folder, 'diary.mp4'), 'private');
  writeFileSync(join(folder, 'stage_other_20261130T180557Z.mp4'), 'of another output');
  symlinkSync('/etc/passwd', join(folder, 'link_archive_20261130T180558Z.mp4'));
  const entry = { name: 'archive', broadcast: '*', type: 'recording', folder };
  const hls = { name: 'web', broadcast: '*', type: 'hls', folder };
  mkdirSync(join(folder, 'room~ann'));
  writeFileSync(join(folder, 'room~ann', 'index.m3u8'), '#EXTM3U');
  writeFileSync(join(folder, 'room~ann', '1764526000.ts'), 'segment');
  writeFileSync(join(folder, 'room~ann', 'notes.txt'), 'private');
  const argv = ['--port', '0', '--outputs', JSON.stringify([entry, hls])];
  const { outputs, http: settings, limits } = loadConfig({ argv });
  const access = accessFor();
  const rights = new HttpAccess(access, { trustProxy: false, localRights: 'auto' });
  http = await createHttpServer({
    config: { http: settings, limits },
    access,
    log: { info: () => {}, warn: () => {}, error: () => {} },
    readiness: () => ({ ready: true, reason: '' }),
    metrics: () => Promise.resolve({ contentType: '', body: '' }),
  });
  const library = new RecordingLibrary({
    configsOf: () => outputs.flatMap((output) => (output.type === 'recording' ? [output] : [])),
    openFiles: () => new Set([NEW]),
  });
  registerRecordings(http.app, rights, library);
  registerHls(
    http.app,
    rights,
    new HlsFiles(() => outputs.flatMap((output) => (output.type === 'hls' ? [output] : []))),
  );
  url = (await http.listen()).replace('localhost', '127.0.0.1');
});
afterAll(async () => {
  await http.close();
  rmSync(folder, { recursive: true });
});

it('lists what its outputs wrote, newest first', async () => {
  const response = await fetch(`${url}/recordings`);
  expect(response.headers.get('cache-control')).toBe('no-store');
  const { recordings } = (await response.json()) as { recordings: { file: string }[] };
  expect(recordings).toEqual([
    {
      ...{ file: NEW, url: `/recordings/${encodeURIComponent(NEW)}`, output: 'archive', broadcast: 'room/ann' },
      ...{ track: 'result', container: 'mp4', startedAt: '2026-11-30T18:05:57Z', bytes: 10, open: true },
    },
    expect.objectContaining({ file: OLD, broadcast: 'stage', container: 'webm', bytes: 3, open: false }) as object,
  ]);
});

it('sends a file whole, or the range that is asked for', async () => {
  const whole = await fetch(`${url}/recordings/${NEW}`);
  expect([whole.status, await whole.text()]).toEqual([200, '0123456789']);
  expect(whole.headers.get('content-type')).toBe('video/mp4');
  expect(whole.headers.get('content-disposition')).toBe(`attachment; filename="${NEW}"`);
  const part = await fetch(`${url}/recordings/${NEW}`, { headers: { range: 'bytes=2-4' } });
  expect([part.status, part.headers.get('content-range'), await part.text()]).toEqual([206, 'bytes 2-4/10', '234']);
  const beyond = await fetch(`${url}/recordings/${NEW}`, { headers: { range: 'bytes=10-' } });
  expect([beyond.status, beyond.headers.get('content-range')]).toEqual([416, 'bytes */10']);
  const etag = whole.headers.get('etag') ?? '';
  expect((await fetch(`${url}/recordings/${NEW}`, { headers: { 'if-none-match': etag } })).status).toBe(304);
  const head = await fetch(`${url}/recordings/${OLD}`, { method: 'HEAD' });
  expect([head.status, head.headers.get('content-length'), head.headers.get('content-type')]).toEqual([
    200,
    '3',
    'video/webm',
  ]);
});

it.each([
  'diary.mp4',
  'stage_other_20261130T180557Z.mp4',
  'link_archive_20261130T180558Z.mp4',
  'gone_archive_20261130T180557Z.mp4',
  '..%2F..%2Fetc%2Fpasswd',
  '%00',
])('%s is not there', async (file) => {
  expect((await fetch(`${url}/recordings/${file}`)).status).toBe(404);
});

it('answers programs on this machine alone', async () => {
  for (const path of ['/recordings', `/recordings/${NEW}`, '/hls/web/room/ann/index.m3u8']) {
    const response = await fetch(url + path, { headers: { 'x-forwarded-for': '203.0.113.5' } });
    expect([response.status, await response.json()]).toMatchObject([403, { code: 'request.forbidden' }]);
  }
});

it('offers playlists, which a cache may not keep, and segments', async () => {
  const playlist = await fetch(`${url}/hls/web/room/ann/index.m3u8`);
  expect([playlist.status, await playlist.text()]).toEqual([200, '#EXTM3U']);
  expect(playlist.headers.get('content-type')).toBe('application/vnd.apple.mpegurl');
  expect(playlist.headers.get('cache-control')).toBe('no-cache');
  const segment = await fetch(`${url}/hls/web/room/ann/1764526000.ts`);
  expect([await segment.text(), segment.headers.get('content-type')]).toEqual(['segment', 'video/mp2t']);
});

it.each([
  'web/room/ann/notes.txt',
  'web/room/ben/index.m3u8',
  'other/room/ann/index.m3u8',
  'web/index.m3u8',
  'web/..%2Froom/ann/index.m3u8',
])('HLS: %s is not there', async (path) => expect((await fetch(`${url}/hls/${path}`)).status).toBe(404));
