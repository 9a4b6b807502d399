import { ChildProcess, spawn } from 'node:child_process';
import { expect, it, vi } from 'vitest';
import type { AppError } from '../../errors.ts';
import type { PullJob } from '../child/messages.ts';
import { PullProcess } from '../pull-process.ts';

vi.mock('node:child_process', { spy: true });

const JOB: PullJob = {
  ...{ url: 'rtsp://host.example/live', transport: 'tcp', timeoutMs: 1000 },
  ...{ maxPixels: 1e6, allow: [] },
};

/** What Node gives when spawn(2) ends in EMFILE or ENFILE: no streams, and 'error' in the next turn. */
function withoutDescriptors(): ChildProcess {
  const child = new ChildProcess();
  process.nextTick(() => child.emit('error', new Error('spawn node EMFILE')));
  return child;
}

it('a process that finds no file descriptors is one more failure, and no end of the server', async () => {
  vi.mocked(spawn).mockImplementationOnce(withoutDescriptors);
  const unused = () => undefined;
  const error = await new Promise<AppError | undefined>((onEnded) => {
    new PullProcess(JOB, { onOpened: unused, onVideo: unused, onAudio: unused, onAlive: unused, onEnded });
  });
  expect(error?.message).toContain('spawn node EMFILE');
});
