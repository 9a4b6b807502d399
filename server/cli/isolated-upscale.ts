import { fork, type ChildProcess } from 'node:child_process';
import { rmSync } from 'node:fs';
import { AppError, type AppErrorJson } from '../errors.ts';
import { partName, type UpscaleOptions, type UpscaleResult } from './upscale-job.ts';
import type { Progress } from './progress.ts';

/**
 * `upscale` in a process of its own. FFmpeg decodes a stranger's file there: what crashes it, or takes it over, ends that process
 * and not the one that the user or a service started. The whole job runs there, so that no picture crosses between processes.
 */

/** Job and answers, by the child's IPC channel. */
export interface UpscaleJobMessage {
  readonly input: string;
  readonly output: string;
  readonly options: Omit<UpscaleOptions, 'progress'>;
}
export type FromUpscaleChild =
  | { readonly type: 'total'; readonly frames: number | undefined }
  | { readonly type: 'update' | 'finish'; readonly frames: number }
  | { readonly type: 'done'; readonly result: UpscaleResult }
  | { readonly type: 'failed'; readonly error: AppErrorJson };

const CHILD = new URL('./boot.mjs', import.meta.url);
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * As upscaleFile(), from a child process.
 * @param onChild for tests: the process, and another program in its place
 * @throws AppError as upscaleFile; file.unreadable with the file's name when its process crashes, nothing of the result is left
 */
export async function upscaleIsolated(
  input: string,
  output: string,
  options: UpscaleOptions,
  { program = CHILD, onChild }: { program?: URL; onChild?: (child: ChildProcess) => void } = {},
): Promise<UpscaleResult> {
  const { progress, ...rest } = options;
  const child = fork(program, { execArgv: [], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  onChild?.(child);
  // A signal to this process alone must not leave the child at work, nor half a file.
  const onSignal = (signal: NodeJS.Signals): void => void child.kill(signal);
  for (const signal of SIGNALS) process.on(signal, onSignal);
  try {
    return await answer(child, { input, output, options: rest }, progress);
  } finally {
    for (const signal of SIGNALS) process.off(signal, onSignal);
  }
}

function answer(
  child: ChildProcess,
  job: UpscaleJobMessage,
  progress: UpscaleOptions['progress'],
): Promise<UpscaleResult> {
  return new Promise((resolve, reject) => {
    let shown: Progress | undefined;
    let answered = false;
    child.on('message', (message: FromUpscaleChild) => {
      switch (message.type) {
        case 'total':
          shown = progress?.(message.frames);
          break;
        case 'update':
        case 'finish':
          shown?.[message.type](message.frames);
          break;
        case 'done':
          answered = true;
          resolve(message.result);
          break;
        case 'failed':
          answered = true;
          reject(AppError.fromJSON(message.error));
          break;
      }
    });
    child.once('error', (cause) =>
      reject(new AppError('internal', `The child process failed: ${cause.message}`, { cause })),
    );
    child.once('exit', (code, signal) => {
      if (answered) return;
      rmSync(partName(job.output), { force: true });
      reject(ended(job.input, code, signal));
    });
    child.send(job);
  });
}

function ended(input: string, code: number | null, signal: NodeJS.Signals | null): AppError {
  if (signal !== null && (SIGNALS as readonly string[]).includes(signal)) {
    return new AppError('file.unreadable', `Upscaling ${input} was stopped (${signal}).`, {
      context: { file: input, signal },
      remedy: 'Run the command again.',
    });
  }
  const how = signal ?? `exit code ${code}`;
  return new AppError('file.unreadable', `Reading ${input} crashed the process that decodes it (${how}).`, {
    context: { file: input, exitCode: code, signal },
    remedy:
      'The file is damaged, or made to attack FFmpeg: do not open it with other programs. Nothing of the result was kept.',
  });
}
