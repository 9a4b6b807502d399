import { parentPort, workerData } from 'node:worker_threads';
import { AppError } from '../../errors.ts';
import { monotonicUs } from '../../media/clock.ts';
import { OnnxRunner, type StreamState } from './runner.ts';
import type { FromThread, ThreadData, ToThread } from './thread-messages.ts';

/** The inference thread: models loaded once, one frame after the other, each stream with its own recurrent state. */
interface Memory {
  readonly model: number;
  readonly width: number;
  readonly height: number;
  readonly state: StreamState;
}

const port = parentPort;
if (port === null) throw new Error('server/upscalers/onnx/thread.ts runs in a worker thread only.');
const { models, threads } = workerData as ThreadData;
const runners: OnnxRunner[] = [];
const memories = new Map<number, Memory>();
/** Runs follow each other; the promise of the last one. */
let tail: Promise<void> = Promise.resolve();

const post = (message: FromThread, transfer: ArrayBuffer[] = []): void => port.postMessage(message, transfer);

async function run(message: Extract<ToThread, { type: 'run' }>): Promise<void> {
  const { stream, model, width, height, input, output } = message;
  const runner = runners[model];
  if (runner === undefined) throw new Error(`There is no model ${model}.`);
  let memory = memories.get(stream);
  // Another size or another model: what was remembered means nothing any more.
  if (memory?.model !== model || memory.width !== width || memory.height !== height) {
    memory = { model, width, height, state: runner.newState(width, height) };
    memories.set(stream, memory);
  }
  const startedAtUs = monotonicUs();
  let failed: AppError | undefined;
  try {
    await runner.run(input, output, width, height, memory.state);
  } catch (error) {
    failed = AppError.from(error, 'model.run');
  }
  const busyUs = monotonicUs() - startedAtUs;
  post({ type: 'done', input, output, busyUs, error: failed?.toJSON() }, [input.buffer, output.buffer]);
}

async function load(): Promise<void> {
  for (const model of models) runners.push(await OnnxRunner.load(model, threads));
  post({
    type: 'loaded',
    models: runners.map(({ layout, scale, fixedWidth, fixedHeight }) => ({ layout, scale, fixedWidth, fixedHeight })),
  });
}

async function close(): Promise<void> {
  memories.clear();
  for (const runner of runners.splice(0)) await runner.close();
  port?.close();
}

port.on('message', (message: ToThread) => {
  tail = tail.then(() => {
    switch (message.type) {
      case 'run':
        return run(message);
      case 'forget':
        memories.delete(message.stream);
        return undefined;
      case 'close':
        return close();
    }
  });
});

tail = load().catch((error: unknown) =>
  post({ type: 'failed', error: AppError.from(error, 'model.invalid').toJSON() }),
);
