import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { X264, openWorkbench, pictures, tone } from './workbench.ts';

/** Row G: connections that end, files that are cut off, files that are none. */

const bench = openWorkbench();
const { at, make } = bench;
let server: Server;
let address = '';

beforeAll(async () => {
  // Large enough that the part served is more than what is read ahead while the file is opened.
  const film = [...pictures(2, '320x240'), ...tone(2), ...X264, '-crf', '0', '-c:a', 'aac'];
  for (const ending of ['mkv', 'ts', 'avi', 'flv']) await make(`film.${ending}`, ...film);
  await make('film.mp4', ...film, '-movflags', 'faststart');
  server = createServer((request, response) => {
    const [, mode = '', name = ''] = (request.url ?? '').split('/');
    const data = readFileSync(at(name));
    const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const end = mode === 'whole' ? data.length : Math.floor(data.length * 0.6);
    const range = { 'content-range': `bytes ${from}-${data.length - 1}/${data.length}` };
    if (/^chunk/.test(mode)) return void inChunks(response, data, mode);
    response.writeHead(206, { 'content-length': data.length - from, ...range });
    // The connection ends when what was sent has left.
    response.write(data.subarray(from, Math.max(from, end)), () => response.destroy());
    if (mode === 'whole') response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => void server.close());

/** An answer that does not say its length: whole, cut between two of its chunks, or within one. */
function inChunks(response: ServerResponse, data: Buffer, mode: string): void {
  const end = Math.floor(data.length * 0.6);
  response.writeHead(200);
  if (mode === 'chunked-whole') return void response.end(data);
  if (mode === 'chunks-cut') return void response.write(data.subarray(0, end), () => response.destroy());
  response.flushHeaders();
  const { socket } = response;
  socket?.write(`${data.length.toString(16)}\r\n`);
  socket?.write(data.subarray(0, end), () => response.destroy());
}

it.each(['mkv', 'ts', 'avi', 'flv', 'mp4'])('G a server that closes within a .%s: an error', async (ending) => {
  const cut = bench.upscale(`${address}/cut/film.${ending}`);
  await expect(cut).rejects.toMatchObject({ code: 'file.unreadable' });
  for (const mode of ['chunks-cut', 'chunk-cut'])
    await expect(bench.upscale(`${address}/${mode}/film.${ending}`), mode).rejects.toMatchObject({
      code: 'file.unreadable',
      message: expect.stringMatching(/reading stopped in the middle|the server sent a part only/) as string,
    });
});

it.each(['mkv', 'ts'])('G a whole .%s in chunks', async (ending) => {
  const { film, result } = await bench.upscale(`${address}/chunked-whole/film.${ending}`);
  expect(film.times).toHaveLength(50);
  expect(result.notices).toEqual([]);
});

it('G a whole file over HTTP', async () => {
  const { film, result } = await bench.upscale(`${address}/whole/film.mkv`);
  expect(film.times).toHaveLength(50);
  expect(result.notices).toEqual([]);
});

it.each(['mkv', 'avi', 'mp4'])('G a .%s cut off: what is there, and a warning', async (ending) => {
  const whole = readFileSync(at(`film.${ending}`));
  writeFileSync(at(`cut.${ending}`), whole.subarray(0, Math.floor(statSync(at(`film.${ending}`)).size * 0.6)));
  const { film, result } = await bench.upscale(`cut.${ending}`);
  expect(film.times.length).toBeGreaterThan(20);
  expect(film.times.length).toBeLessThan(45);
  expect(result.notices).toEqual([expect.stringMatching(/cut off: its last \d\.\d s are missing/)]);
});

it.each(['mkv', 'ts', 'avi', 'flv', 'mp4'])('G a whole .%s has no warning', async (ending) => {
  const { film, result } = await bench.upscale(`film.${ending}`);
  expect(film.times).toHaveLength(50);
  expect(result.notices).toEqual([]);
  expect(result.damagedPackets).toBe(0);
});

it.each([
  ['empty.mp4', '', /empty\.mp4 cannot be read as a video/],
  ['text.mp4', 'this is not a video', /text\.mp4 cannot be read as a video/],
])('%s is refused with its name', async (name, content, message) => {
  writeFileSync(at(name), content);
  await expect(bench.upscale(name)).rejects.toThrow(message);
});
