import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { makeStream } from '../../../../testing/pictures.ts';
import { until } from '../../../../testing/until.ts';
import type { DropReason } from '../../../media/types.ts';
import { newTrace } from '../../../media/steps.ts';
import type { AppError } from '../../../errors.ts';
import { MuxedOutput } from '../../muxed-output.ts';
import type { RecordingTarget } from '../messages.ts';
import { MuxerProcess } from '../muxer-process.ts';

/** A process that hangs, dies or is slow in place of the one that muxes. */
const TARGET: RecordingTarget = {
  kind: 'recording',
  folder: '/nowhere',
  stem: 'a_b',
  container: 'auto',
  rotateSeconds: 60,
  rotateBytes: 1e9,
};

let folder: string;
const cleanup: (() => unknown)[] = [];
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'muxer-'));
});
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function program(name: string, onMessage: string): URL {
  const file = join(folder, `${name}.mjs`);
  const leave = "process.on('disconnect', () => process.exit(0));";
  writeFileSync(
    file,
    `process.on('message', (message) => { ${onMessage} });\n${leave}\nprocess.send({ type: 'ready' });\n`,
  );
  return pathToFileURL(file);
}

const PICTURES = makeStream({ codec: 'H264', width: 64, height: 64, frames: 60 });

interface Fed {
  readonly output: MuxedOutput;
  readonly failed: AppError[];
  readonly dropped: DropReason[];
  keyframes: number;
  feed(): void;
}

function open(process: MuxerProcess, maxFrames = 440): Fed {
  const failed: AppError[] = [];
  const dropped: DropReason[] = [];
  const fed = { failed, dropped, keyframes: 0 };
  const output = new MuxedOutput(
    { id: 'run', kind: 'relay', track: 'result', codec: 'H264', process, target: TARGET, queue: { maxFrames } },
    {
      started: () => undefined,
      interrupted: () => undefined,
      requestKeyframe: () => (fed.keyframes += 1),
      dropped: (reason) => dropped.push(reason),
      ended: () => undefined,
    },
    { running: () => undefined, failed: (error) => failed.push(error) },
  );
  cleanup.push(() => output.close());
  const feed = (): void => {
    for (const { data, mediaTime, keyframe } of PICTURES) {
      const size = { width: 64, height: 64, trace: newTrace(0, 0) };
      output.onResult({ codec: 'H264', rendition: 'full', data, mediaTime, keyframe, ...size });
    }
  };
  return Object.assign(fed, { output, feed });
}

const started = (fed: Fed) => until(() => fed.output.state.kind === 'waitingKeyframe', 'the run to begin');

it("the process gets no key of the server's environment", async () => {
  vi.stubEnv('FLASHVSR_OUTPUTS', 'a-stream-key');
  cleanup.push(() => vi.unstubAllEnvs());
  const file = join(folder, 'environment.json');
  const write = `writeFileSync('${file}.part', JSON.stringify(process.env)); renameSync('${file}.part', '${file}')`;
  const muxer = program('environment', `import('node:fs').then(({ writeFileSync, renameSync }) => { ${write}; })`);
  open(new MuxerProcess({ label: 'the output', program: muxer }));
  await until(() => existsSync(file), 'the environment of the process');
  expect(readFileSync(file, 'utf8')).toContain('"PATH"');
  expect(readFileSync(file, 'utf8')).not.toContain('a-stream-key');
});

it('what hangs is ended, and says so; the next session gets a new process', async () => {
  const muxer = new MuxerProcess({ label: 'the test', stallMs: 200, program: program('hang', 'for (;;);') });
  const fed = open(muxer);
  await started(fed);
  fed.feed();
  await until(() => fed.failed.length > 0, 'the failure');
  expect(fed.failed).toMatchObject([{ code: 'output.target', retryable: true }]);
  expect(fed.failed[0]?.message).toContain('the test has taken nothing for 0.2 s');
  expect(fed.output.state.kind).toBe('closed');
  const pid = muxer.pid;
  const next = open(muxer);
  await started(next);
  expect(muxer.pid).not.toBe(pid);
});

it('what dies is a failure of all its sessions', async () => {
  const dies = program('die', "if (message.type === 'media') process.exit(3);");
  const muxer = new MuxerProcess({ label: 'the test', program: dies });
  const [first, second] = [open(muxer), open(muxer)];
  await Promise.all([started(first), started(second)]);
  first.feed();
  await until(() => first.failed.length > 0 && second.failed.length > 0, 'both failures');
  expect(second.failed).toMatchObject([{ code: 'output.crashed' }]);
  expect(second.failed[0]?.message).toContain('exit code 3');
});

it('what is slow gets what fits and then drops up to the next keyframe; nothing in front of it waits', async () => {
  // It takes an item only when it is about to close.
  const slow = program(
    'slow',
    `if (message.type === 'close') process.send({ type: 'closed', session: message.session });`,
  );
  const fed = open(new MuxerProcess({ label: 'the test', program: slow }), 20);
  await started(fed);
  fed.feed();
  // All in one turn: nothing has been read yet, so the queue holds its 20 pictures and the first goes to the reader.
  expect(fed.dropped).toEqual(['egress-slow']);
  expect(fed.keyframes).toBe(1);
  expect(fed.output.state.kind).toBe('waitingKeyframe');
  await until(() => fed.output.progress.frames === 16, 'the window');
  expect(fed.output.progress).toMatchObject({ frames: 16, dropped: 1 });
  fed.feed();
  expect(fed.dropped.length).toBe(2);
  expect(fed.failed).toEqual([]);
});

it('a process whose last session has ended leaves', async () => {
  const polite = program(
    'polite',
    "if (message.type === 'close') process.send({ type: 'closed', session: message.session });",
  );
  const muxer = new MuxerProcess({ label: 'the test', program: polite });
  const fed = open(muxer);
  await started(fed);
  const { pid = 0 } = muxer;
  await fed.output.close();
  await until(() => {
    try {
      return !process.kill(pid, 0);
    } catch {
      return true;
    }
  }, 'its end');
  expect(muxer.pid).toBeUndefined();
});
