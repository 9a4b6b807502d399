import './quiet-runtime.ts';
import { Worker } from 'node:worker_threads';
import { BOOT } from '../../boot.ts';
import { AppError } from '../../errors.ts';
import type { OnnxModel } from '../spec.ts';
import type { Samples } from './samples.ts';
import type { FromThread, LoadedModel, ThreadData, ToThread } from './thread-messages.ts';

export interface InferenceJob {
  readonly stream: number;
  readonly model: number;
  readonly width: number;
  readonly height: number;
  /** Taken while the job runs, given back by the result. */
  readonly input: Samples;
  readonly output: Samples;
}

export interface InferenceResult {
  readonly input: Samples;
  readonly output: Samples;
  readonly busyUs: number;
  readonly error: AppError | undefined;
}

const CLOSE_TIMEOUT_MS = 2_000;

interface Job extends InferenceJob {
  resolve(result: InferenceResult): void;
  reject(error: AppError): void;
}

/**
 * The inference thread as the pipeline's thread sees it. One run at a time is in the thread; the others wait here, where those of a
 * stream that closes are cancelled: a source that makes its pipeline replace streams faster than the model runs must not pile up
 * pictures and tensors behind it.
 */
export class Inference {
  readonly models: readonly LoadedModel[];
  /** Models that were to run on the GPU and cannot any more: streams pass them over. */
  readonly lost = new Set<number>();
  readonly #worker: Worker;
  /** In the thread. */
  #running: Job | undefined;
  readonly #queued: Job[] = [];
  /** Asked for and not answered yet, in order. */
  readonly #recalls: { resolve(memory: Uint8Array): void; reject(error: AppError): void }[] = [];
  #ended: AppError | undefined;
  #closing: Promise<void> | undefined;

  private constructor(worker: Worker, models: readonly LoadedModel[]) {
    this.#worker = worker;
    this.models = models;
    models.forEach(({ lost }, index) => {
      if (lost !== undefined) this.lost.add(index);
    });
    worker.on('message', (message: FromThread) => this.#onMessage(message));
    worker.on('error', (cause) => this.#end(new AppError('model.run', `The inference thread died: ${String(cause)}`)));
    worker.on('exit', () => this.#end(new AppError('model.run', 'The inference thread has ended.')));
  }

  /** Loads and checks all models. @throws AppError model.invalid */
  static async start(models: readonly OnnxModel[], threads: number): Promise<Inference> {
    const worker = new Worker(BOOT, {
      name: 'onnx inference',
      argv: [new URL('./thread.ts', import.meta.url).href],
      workerData: { models, threads } satisfies ThreadData,
      execArgv: [],
    });
    try {
      return new Inference(worker, await loaded(worker));
    } catch (error) {
      await worker.terminate();
      throw error;
    }
  }

  /** Runs that wait for the thread. */
  get queued(): number {
    return this.#queued.length;
  }

  /** @throws AppError model.run (scope stream) when the thread is gone */
  run(job: InferenceJob): Promise<InferenceResult> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      this.#queued.push({ ...job, resolve, reject });
      this.#next();
    });
  }

  /** What a stream remembers, which has no run under way. @throws AppError model.run */
  recall(stream: number): Promise<Uint8Array> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      this.#recalls.push({ resolve, reject });
      this.#send({ type: 'recall', stream });
    });
  }

  /** Gives a new stream what recall() gave out; the thread ends when it is not of this model. */
  remember(stream: number, memory: Uint8Array): void {
    if (this.#ended === undefined) this.#send({ type: 'remember', stream, memory });
  }

  /** Drops a stream's recurrent state and its runs that have not begun; those resolve with an error. */
  forget(stream: number): void {
    if (this.#ended === undefined) this.#send({ type: 'forget', stream });
    const error = new AppError('model.run', 'The stream was closed before its frame was run.', { scope: 'frame' });
    for (const job of this.#queued.filter((queued) => queued.stream === stream)) {
      this.#queued.splice(this.#queued.indexOf(job), 1);
      job.resolve({ input: job.input, output: job.output, busyUs: 0, error });
    }
  }

  /** Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#ended === undefined) {
      const gone = new Promise<void>((resolve) => this.#worker.once('exit', () => resolve()));
      this.#send({ type: 'close' });
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, CLOSE_TIMEOUT_MS);
      });
      await Promise.race([gone, late]);
      clearTimeout(timer);
    }
    await this.#worker.terminate();
  }

  #send(message: ToThread, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, transfer);
  }

  #next(): void {
    if (this.#running !== undefined) return;
    const job = (this.#running = this.#queued.shift());
    if (job === undefined) return;
    const { stream, model, width, height, input, output } = job;
    this.#send({ type: 'run', stream, model, width, height, input, output }, [input.buffer, output.buffer]);
  }

  #onMessage(message: FromThread): void {
    if (message.type === 'recalled') {
      const asked = this.#recalls.shift();
      if (message.error === undefined) asked?.resolve(message.memory);
      else asked?.reject(AppError.fromJSON(message.error));
      return;
    }
    if (message.type !== 'done') return;
    const job = this.#running;
    this.#running = undefined;
    this.#next();
    const { input, output, busyUs, error, lost } = message;
    if (lost && job !== undefined) this.lost.add(job.model);
    job?.resolve({ input, output, busyUs, error: error && AppError.fromJSON(error) });
  }

  #end(error: AppError): void {
    this.#ended ??= error;
    for (const waiting of [this.#running, ...this.#queued.splice(0), ...this.#recalls.splice(0)])
      waiting?.reject(this.#ended);
    this.#running = undefined;
  }
}

/** The thread's first message: its models, or why they cannot be loaded. */
function loaded(worker: Worker): Promise<readonly LoadedModel[]> {
  return new Promise((resolve, reject) => {
    worker.once('message', (message: FromThread) => {
      if (message.type === 'loaded') resolve(message.models);
      else if (message.type === 'failed') reject(AppError.fromJSON(message.error));
    });
    worker.once('error', (cause) => reject(AppError.from(cause, 'model.invalid')));
    worker.once('exit', () => reject(new AppError('model.invalid', 'The inference thread ended while loading.')));
  });
}
