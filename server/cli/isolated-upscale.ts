import { fork, type ChildProcess } from 'node:child_process';
import { STANDARD, inputLabel } from '../codec/standard-streams.ts';
import { AppError, type AppErrorJson } from '../errors.ts';
import type { Progress } from './progress.ts';
import { withKept } from './kept-folder.ts';
import { claimResult } from './result-pictures.ts';
import { StopSignals, isStopSignal, stopped, type StopSignal } from './stop-signals.ts';
import type { UpscaleOptions, UpscaleResult, UpscaleTarget } from './upscale-file.ts';

/**
 * `upscale` in a separate process. FFmpeg decodes a stranger's file there: what crashes it, or takes it over, ends that process
 * and not the one that the user or a service started. The whole job runs there, so that no picture crosses between processes.
 * The result's name, its unfinished file and the signals belong to the parent: it removes what a dead child leaves.
 */

/** Job and answers, by the child's IPC channel. */
export interface UpscaleJobMessage {
  readonly input: string;
  readonly target: UpscaleTarget;
  readonly options: Omit<UpscaleOptions, 'progress' | 'overwrite'>;
}
export type FromUpscaleChild =
  | { readonly type: 'total'; readonly frames: number | undefined }
  | { readonly type: 'update' | 'finish'; readonly frames: number }
  | { readonly type: 'kept'; readonly frames: number; readonly before: number }
  | { readonly type: 'done'; readonly result: UpscaleResult }
  | { readonly type: 'failed'; readonly error: AppErrorJson };

const CHILD = new URL('./boot.mjs', import.meta.url);
/** A child without handlers ends by a signal at once; one that does not is beyond help. */
const KILL_AFTER_MS = 2000;

interface IsolatedOptions {
  /** For tests: another program in the child's place. */
  readonly program?: URL;
  readonly onChild?: (child: ChildProcess) => void;
  /** Of a batch; absent: this call's own. */
  readonly signals?: StopSignals;
}

/**
 * As upscaleFile(), from a child process.
 * @throws AppError as upscaleFile; file.unreadable with the file's name when its process crashes; job.stopped after a signal.
 *   Of the result nothing is left then but frames that are worth going on from (kept-folder.ts)
 */
export async function upscaleIsolated(
  input: string,
  output: string,
  options: UpscaleOptions,
  isolated: IsolatedOptions = {},
): Promise<UpscaleResult> {
  const { progress, overwrite, ...rest } = options;
  const signals = isolated.signals ?? new StopSignals();
  try {
    const file = claimResult(input, output, { overwrite, resume: options.resume });
    const removeDiscard = signals.add((_signal, force) => {
      if (force) file.discard();
    });
    try {
      const target = { name: output, part: file.part, keep: file.keep };
      const result = await runChild({ input, target, options: rest }, progress, signals, isolated);
      file.publish();
      return { ...result, notices: [...file.notices, ...result.notices] };
    } catch (error) {
      file.discard();
      throw withKept(error, file.keptFrames);
    } finally {
      file.discard();
      removeDiscard();
    }
  } finally {
    if (isolated.signals === undefined) signals.close();
  }
}

async function runChild(
  job: UpscaleJobMessage,
  progress: UpscaleOptions['progress'],
  signals: StopSignals,
  { program = CHILD, onChild }: IsolatedOptions,
): Promise<UpscaleResult> {
  if (signals.signal !== undefined) throw stopped(inputLabel(job.input), signals.signal);
  const stdin = job.input === STANDARD ? 'inherit' : 'ignore';
  // Films only: all words of the child go to standard error.
  const stdout = job.target.name === STANDARD ? 'inherit' : 'ignore';
  const child = fork(program, { execArgv: [], stdio: [stdin, stdout, 'inherit', 'ipc'] });
  let killer: NodeJS.Timeout | undefined;
  const removeStop = signals.add((signal, force) => {
    child.kill(force ? 'SIGKILL' : signal);
    killer ??= setTimeout(() => child.kill('SIGKILL'), KILL_AFTER_MS);
  });
  onChild?.(child);
  try {
    return await answer(child, job, progress, signals);
  } finally {
    removeStop();
    clearTimeout(killer);
  }
}

function answer(
  child: ChildProcess,
  job: UpscaleJobMessage,
  progress: UpscaleOptions['progress'],
  signals: StopSignals,
): Promise<UpscaleResult> {
  return new Promise((resolve, reject) => {
    let shown: Progress | undefined;
    let answered: (() => void) | undefined;
    child.on('message', (message: FromUpscaleChild) => {
      switch (message.type) {
        case 'total':
          shown = progress?.(message.frames);
          break;
        case 'update':
        case 'finish':
          shown?.[message.type](message.frames);
          break;
        case 'kept':
          shown?.kept(message.frames, message.before);
          break;
        case 'done':
          answered = () => resolve(message.result);
          break;
        case 'failed':
          answered = () => reject(AppError.fromJSON(message.error));
          break;
      }
    });
    child.once('error', (cause) =>
      reject(new AppError('internal', `The child process failed: ${cause.message}`, { cause })),
    );
    // 'close', not 'exit': messages on their way arrive before it.
    child.once('close', (code, signal) => {
      shown?.stop();
      // An answer is worth the job even when the process then dies, or was asked to stop a moment later.
      if (answered !== undefined) answered();
      else reject(ended(inputLabel(job.input), code, signal, signals.signal));
    });
    child.send(job, () => undefined);
  });
}

function ended(
  input: string,
  code: number | null,
  signal: NodeJS.Signals | null,
  asked: StopSignal | undefined,
): AppError {
  if (asked !== undefined) return stopped(input, asked);
  if (isStopSignal(signal)) return stopped(input, signal);
  const how = signal ?? `exit code ${code}`;
  return new AppError('file.unreadable', `Reading ${input} crashed the process that decodes it (${how}).`, {
    context: { file: input, exitCode: code, signal },
    remedy: 'The file is damaged, or made to attack FFmpeg: do not open it with other programs.',
  });
}
