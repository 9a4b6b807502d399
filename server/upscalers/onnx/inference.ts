import { Worker } from 'node:worker_threads';
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

interface Waiting {
  resolve(result: InferenceResult): void;
  reject(error: AppError): void;
}

/** The inference thread as the pipeline's thread sees it. */
export class Inference {
  readonly models: readonly LoadedModel[];
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #nextJob = 1;
  #ended: AppError | undefined;
  #closing: Promise<void> | undefined;

  private constructor(worker: Worker, models: readonly LoadedModel[]) {
    this.#worker = worker;
    this.models = models;
    worker.on('message', (message: FromThread) => this.#onMessage(message));
    worker.on('error', (cause) => this.#end(new AppError('model.run', `The inference thread died: ${String(cause)}`)));
    worker.on('exit', () => this.#end(new AppError('model.run', 'The inference thread has ended.')));
  }

  /** Loads and checks all models. @throws AppError model.invalid */
  static async start(models: readonly OnnxModel[], threads: number): Promise<Inference> {
    const worker = new Worker(new URL('./boot.mjs', import.meta.url), {
      name: 'onnx inference',
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

  /** @throws AppError model.run (scope stream) when the thread is gone */
  run(job: InferenceJob): Promise<InferenceResult> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    const id = this.#nextJob;
    this.#nextJob += 1;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#send({ type: 'run', job: id, ...job }, [job.input.buffer, job.output.buffer]);
    });
  }

  /** Drops a stream's recurrent state. */
  forget(stream: number): void {
    if (this.#ended === undefined) this.#send({ type: 'forget', stream });
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

  #onMessage(message: FromThread): void {
    if (message.type !== 'done') return;
    const waiting = this.#waiting.get(message.job);
    this.#waiting.delete(message.job);
    const { input, output, busyUs, error } = message;
    waiting?.resolve({ input, output, busyUs, error: error && AppError.fromJSON(error) });
  }

  #end(error: AppError): void {
    this.#ended ??= error;
    for (const waiting of this.#waiting.values()) waiting.reject(this.#ended);
    this.#waiting.clear();
  }
}

/** The thread's first word. */
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
