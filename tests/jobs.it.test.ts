import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import ffmpeg from '@ffmpeg-installer/ffmpeg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startApp, type App } from '../server/app.ts';
import { jobRunner } from '../server/cli/job-runner.ts';
import { configSchema } from '../server/config/config.ts';
import type { JobStatus } from '../server/jobs/job.ts';
import { createLog } from '../server/log.ts';
import { readFilm } from '../testing/film.ts';
import { until } from '../testing/until.ts';

/** A job has the least priority: on a busy machine it takes its time. */
const LONGEST_MS = 170_000;

let app: App;
let folder: string;
let clip: Buffer;

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'jobs-'));
  const file = path.join(folder, 'clip.mp4');
  const source = ['-f', 'lavfi', '-i', 'testsrc2=size=64x36:rate=24:duration=1'];
  execFileSync(ffmpeg.path, ['-loglevel', 'error', ...source, '-pix_fmt', 'yuv420p', file]);
  clip = readFileSync(file);
  const jobs = { folder: path.join(folder, 'jobs'), model: 'resize', maxBytes: 1_000_000 };
  const config = configSchema.parse({ http: { port: 0 }, model: { name: 'resize' }, jobs });
  app = await startApp(config, createLog({ level: 'silent', format: 'json' }), { runJob: jobRunner(config) });
});
afterAll(async () => {
  await app.close();
  rmSync(folder, { recursive: true });
});

const send = (body: Buffer, query = '', type = 'application/octet-stream'): Promise<Response> =>
  fetch(`${app.url}/api/jobs${query}`, {
    method: 'POST',
    headers: { 'content-type': type },
    body: new Uint8Array(body),
  });

async function ended(response: Response): Promise<JobStatus> {
  expect(response.status).toBe(202);
  const address = app.url + (response.headers.get('location') ?? '');
  const over = async (): Promise<JobStatus | undefined> => {
    const job = (await (await fetch(address)).json()) as JobStatus;
    return ['done', 'failed'].includes(job.state) ? job : undefined;
  };
  // Whatever else the machine does comes first.
  return until(over, 'the job has ended', LONGEST_MS);
}

it('a file comes in, is upscaled in its own process, and the result goes out; then nothing of it is left', async () => {
  const job = await ended(await send(clip, '?name=holiday.mov&scale=2'));
  expect(job).toMatchObject({ state: 'done', framesDone: 24, framesTotal: 24, error: null });
  expect(job.result).toMatchObject({ width: 128, height: 72 });
  const result = await fetch(app.url + (job.result?.url ?? ''));
  expect(result.headers.get('content-disposition')).toContain('holiday.mp4');
  const file = path.join(folder, 'result.mp4');
  writeFileSync(file, new Uint8Array(await result.arrayBuffer()));
  const film = await readFilm(file);
  expect([film.width, film.height, film.times.length]).toEqual([128, 72, 24]);

  const removed = await fetch(`${app.url}/api/jobs/${job.id}`, { method: 'DELETE' });
  expect(removed.status).toBe(204);
  expect((await fetch(app.url + (job.result?.url ?? ''))).status).toBe(404);
}, 200_000);

it('what is no film, too large or no file is refused or fails with words, and the server goes on', async () => {
  const job = await ended(await send(Buffer.from('no film at all'), '?name=text.mp4'));
  expect([job.state, job.error?.code, job.error?.message]).toEqual([
    'failed',
    'file.unreadable',
    expect.stringContaining('text.mp4'),
  ]);
  expect(JSON.stringify(job)).not.toContain(folder);
  expect((await send(clip, '', 'multipart/form-data')).status).toBe(415);
  expect((await send(clip, '?scale=99')).status).toBe(400);

  // Without a length: what goes beyond the bound is answered while the file still comes.
  const { hostname, port } = new URL(app.url);
  const socket = connect(Number(port), hostname === 'localhost' ? '127.0.0.1' : hostname);
  let answer = '';
  socket.on('data', (data: Buffer) => (answer += data.toString()));
  socket.on('error', () => undefined);
  const head = ['POST /api/jobs HTTP/1.1', 'Host: localhost', 'Content-Type: video/mp4', 'Transfer-Encoding: chunked'];
  socket.write(`${head.join('\r\n')}\r\n\r\n`);
  for (let chunk = 0; chunk < 20; chunk += 1) socket.write(`10000\r\n${'x'.repeat(65_536)}\r\n`);
  await until(() => answer.includes('request.tooLarge'));
  expect(answer).toMatch(/^HTTP\/1\.1 413 /);
  socket.destroy();
  expect((await fetch(`${app.url}/api/admin/status`)).status).toBe(200);
}, 200_000);
