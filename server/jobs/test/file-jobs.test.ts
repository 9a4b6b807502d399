import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { configSchema } from '../../config/config.ts';
import { AppError } from '../../errors.ts';
import { until } from '../../../testing/until.ts';
import { FileJobs } from '../file-jobs.ts';
import type { JobOutcome, JobRequest, JobTask } from '../job.ts';

let folder: string;
const open: FileJobs[] = [];
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'jobs-'));
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((jobs) => jobs.close()));
  rmSync(folder, { recursive: true });
});

/** One call of the runner, which a test ends. */
interface Work {
  readonly task: JobTask;
  done(): void;
  fail(error: unknown): void;
}

const OUTCOME: JobOutcome = { frames: 24, width: 640, height: 360, notices: [] };
const FILM: JobRequest = { name: 'holiday film.avi', result: 'mp4', scale: 2 };

function start(settings: object = {}, now: () => number = Date.now) {
  const work: Work[] = [];
  const run = (task: JobTask): Promise<JobOutcome> =>
    new Promise((resolve, reject) => {
      const done = (): void => {
        writeFileSync(task.output, 'result');
        resolve(OUTCOME);
      };
      task.signal.addEventListener('abort', () => reject(new AppError('job.stopped', 'stopped')));
      work.push({ task, done, fail: reject });
    });
  const log = { info: () => {}, warn: () => {} };
  const { jobs: defaults } = configSchema.parse({});
  const jobs = new FileJobs({ folder, settings: { ...defaults, ...settings }, run, log, now });
  open.push(jobs);
  const add = (text = 'film', request = FILM) => jobs.add(request, Readable.from([Buffer.from(text)]), undefined);
  return { jobs, work, add };
}

const ids = (): string[] => readdirSync(folder).filter((name) => name !== 'owner');

it('runs one after the other, says how far each is, and hands the result out', async () => {
  const { jobs, work, add } = start();
  const [first, second, third] = [await add(), await add(), await add()];
  expect([second.state, second.before, third.before]).toEqual(['queued', 1, 2]);
  expect(() => jobs.resultOf(first.id)).toThrow(expect.objectContaining({ code: 'request.state' }));
  expect(work).toHaveLength(1);
  expect(readFileSync(work[0]?.task.input ?? '', 'utf8')).toBe('film');
  work[0]?.task.onProgress(5, 24);
  expect(jobs.status(first.id)).toMatchObject({ state: 'running', framesDone: 5, framesTotal: 24, result: null });
  work[0]?.done();
  await until(() => work.length === 2);
  const done = jobs.status(first.id);
  expect(done).toMatchObject({ state: 'done', framesDone: 24, result: { width: 640, height: 360 } });
  expect(jobs.resultOf(first.id)).toMatchObject({ saveAs: 'holiday_film.mp4', ending: 'mp4' });
  // What was sent is not needed any more.
  expect(existsSync(work[0]?.task.input ?? '')).toBe(false);
});

it('a file that cannot be upscaled says why, without the path of the server, and the next one runs', async () => {
  const { jobs, work, add } = start();
  const [bad, next] = [await add(), await add()];
  const { input = '' } = work[0]?.task ?? {};
  work[0]?.fail(new AppError('file.unreadable', `${input} has no video.`));
  await until(() => jobs.status(next.id).state === 'running');
  const { state, error } = jobs.status(bad.id);
  expect([state, error?.code, error?.message]).toEqual(['failed', 'file.unreadable', 'holiday film.avi has no video.']);
});

it('bounds sizes and numbers, and keeps nothing of what it refuses', async () => {
  const { jobs, add } = start({ maxBytes: 4, maxJobs: 1 });
  await expect(add('12345')).rejects.toMatchObject({ code: 'request.tooLarge' });
  await expect(jobs.add(FILM, Readable.from([]), 5)).rejects.toMatchObject({ code: 'request.tooLarge' });
  await expect(add('')).rejects.toMatchObject({ code: 'request.malformed' });
  const cut = new Readable({ read: () => {} });
  cut.push('12');
  const refused = expect(jobs.add(FILM, cut, 4)).rejects.toMatchObject({ code: 'request.malformed' });
  cut.destroy();
  await refused;
  expect(ids()).toEqual([]);
  const { id } = await add('1234');
  await expect(add('1234')).rejects.toMatchObject({ code: 'job.full' });
  await jobs.remove(id);
  expect(ids()).toEqual([]);
  await add('1234');
});

it('ends what runs too long, or is removed', async () => {
  const { jobs, work, add } = start({ maxSeconds: 0.01 });
  const { id } = await add();
  await until(() => jobs.status(id).state === 'failed');
  expect(jobs.status(id).error?.code).toBe('job.tooLong');

  const other = start();
  const removed = await other.add();
  await other.jobs.remove(removed.id);
  expect(other.work[0]?.task.signal.aborted).toBe(true);
  expect(() => other.jobs.status(removed.id)).toThrow(expect.objectContaining({ code: 'job.unknown' }));
  expect(work).toHaveLength(1);
});

it('deletes what has ended by its age', async () => {
  let nowMs = Date.parse('2026-12-01T00:00:00Z');
  const { jobs, work, add } = start({ keepSeconds: 60 }, () => nowMs);
  const { id } = await add();
  work[0]?.done();
  await until(() => jobs.status(id).state === 'done');
  expect(jobs.status(id).expiresAt).toBe('2026-12-01T00:01:00.000Z');
  nowMs += 59_999;
  jobs.sweep();
  expect(jobs.list()).toHaveLength(1);
  nowMs += 1;
  jobs.sweep();
  expect([jobs.list(), ids()]).toEqual([[], []]);
});

it('goes on after a restart; what ended the server twice is not begun again, an upload that was cut is removed', async () => {
  const first = start();
  const [running, waiting] = [await first.add(), await first.add()];
  await first.jobs.close();
  writeFileSync(path.join(folder, 'notes.txt'), 'not a job');

  const second = start();
  second.jobs.resume();
  expect(second.jobs.list().map(({ id, state }) => [id, state])).toEqual([
    [running.id, 'running'],
    [waiting.id, 'queued'],
  ]);
  await second.jobs.close();

  // As servers leave it that were killed.
  const file = path.join(folder, running.id, 'job.json');
  const killed = (starts: number): void => {
    writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), state: 'running', starts }));
  };
  killed(1);
  const third = start();
  third.jobs.resume();
  expect(third.jobs.status(running.id).state).toBe('running');
  await third.jobs.close();
  killed(2);
  rmSync(path.join(folder, waiting.id, 'job.json'));
  const fourth = start();
  fourth.jobs.resume();
  expect(fourth.jobs.list()).toMatchObject([{ id: running.id, state: 'failed', error: { code: 'job.interrupted' } }]);
  expect(ids().sort()).toEqual([running.id, 'notes.txt'].sort());
});

it('leaves a folder alone that another server uses', async () => {
  writeFileSync(path.join(folder, 'owner'), String(process.ppid));
  const { add } = start();
  await expect(add()).rejects.toMatchObject({ code: 'file.unwritable' });
  writeFileSync(path.join(folder, 'owner'), '999999999');
  await add();
});
