import { STANDARD, inputLabel } from '../codec/standard-streams.ts';
import { AppError, type AppErrorJson } from '../errors.ts';
import { SupervisedChild, type ChildEnd } from '../supervised-child.ts';
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
  | { readonly type: 'say'; readonly words: string }
  | { readonly type: 'kept'; readonly frames: number; readonly before: number }
  | { readonly type: 'done'; readonly result: UpscaleResult }
  | { readonly type: 'failed'; readonly error: AppErrorJson };

const CHILD = new URL('./upscale-child.ts', import.meta.url);
/** A child without handlers ends by a signal at once; one that does not is beyond help. */
const KILL_AFTER_MS = 2000;

type Stopping = Pick<StopSignals, 'signal' | 'add'>;

interface IsolatedOptions {
  /** For tests: another program in the child's place. */
  readonly program?: URL;
  readonly onChild?: (child: Pick<SupervisedChild, 'kill' | 'pid'>) => void;
  /** Of a batch or a server; absent: this call's own. */
  readonly signals?: Stopping;
  /** Absent: the whole environment of this process. */
  readonly env?: NodeJS.ProcessEnv;
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
  const { signals: given } = isolated;
  const signals = given ?? new StopSignals();
  try {
    const file = claimResult(input, output, { overwrite, resume: options.resume });
    const removeDiscard = signals.add((_signal, force) => {
      if (force) file.discard();
    });
    try {
      const target = { name: output, part: file.part, keep: file.keep };
      const result = await runChild({ input, target, options: rest }, progress, signals, isolated);
      file.publish();
      const said = progress === undefined ? [] : result.said;
      return { ...result, said, notices: [...file.notices, ...result.notices] };
    } catch (error) {
      file.discard();
      throw withKept(error, file.keptFrames);
    } finally {
      file.discard();
      removeDiscard();
    }
  } finally {
    if (signals instanceof StopSignals && given === undefined) signals.close();
  }
}

async function runChild(
  job: UpscaleJobMessage,
  progress: UpscaleOptions['progress'],
  signals: Stopping,
  { program = CHILD, onChild, env }: IsolatedOptions,
): Promise<UpscaleResult> {
  if (signals.signal !== undefined) throw stopped(inputLabel(job.input), signals.signal);
  const answer = new ChildAnswer(progress);
  const stdin = job.input === STANDARD ? 'inherit' : 'ignore';
  // Films only: all words of the child go to standard error.
  const stdout = job.target.name === STANDARD ? 'inherit' : 'ignore';
  const child = new SupervisedChild({
    module: program,
    stdio: [stdin, stdout, 'inherit', 'ipc'],
    ...(env !== undefined && { env }),
    onMessage: (message) => answer.onMessage(message as FromUpscaleChild),
  });
  let stopping = false;
  const removeStop = signals.add((signal, force) => {
    child.kill(force ? 'SIGKILL' : signal);
    if (!stopping) child.limit(KILL_AFTER_MS);
    stopping = true;
  });
  onChild?.(child);
  child.send(job);
  try {
    const end = await child.ended;
    return answer.result ?? throwEnd(inputLabel(job.input), end, signals.signal);
  } finally {
    answer.stopProgress();
    removeStop();
  }
}

/** What the child has sent. An answer is worth the job even when the process then dies, or was asked to stop a moment later. */
class ChildAnswer {
  readonly #progress: UpscaleOptions['progress'];
  #shown: Progress | undefined;
  #answer: Extract<FromUpscaleChild, { type: 'done' | 'failed' }> | undefined;

  constructor(progress: UpscaleOptions['progress']) {
    this.#progress = progress;
  }

  /** Undefined without an answer. @throws AppError the child's */
  get result(): UpscaleResult | undefined {
    if (this.#answer?.type === 'failed') throw AppError.fromJSON(this.#answer.error);
    return this.#answer?.result;
  }

  onMessage(message: FromUpscaleChild): void {
    switch (message.type) {
      case 'total':
        this.#shown = this.#progress?.(message.frames);
        break;
      case 'update':
      case 'finish':
        this.#shown?.[message.type](message.frames);
        break;
      case 'say':
        this.#shown?.say(message.words);
        break;
      case 'kept':
        this.#shown?.kept(message.frames, message.before);
        break;
      case 'done':
      case 'failed':
        this.#answer = message;
        break;
    }
  }

  stopProgress(): void {
    this.#shown?.stop();
  }
}

/** @throws AppError always: why there is no answer */
function throwEnd(input: string, { how, code, signal }: ChildEnd, asked: StopSignal | undefined): never {
  if (asked !== undefined) throw stopped(input, asked);
  if (isStopSignal(signal)) throw stopped(input, signal);
  if (code === null && signal === null) throw new AppError('internal', `The child process failed: ${how}`);
  throw new AppError('file.unreadable', `Reading ${input} crashed the process that decodes it (${how}).`, {
    context: { file: input, exitCode: code, signal },
    remedy: 'The file is damaged, or made to attack FFmpeg: do not open it with other programs.',
  });
}
