import { parentPort, workerData } from 'node:worker_threads';
import { AppError } from '../../errors.ts';
import { monotonicUs } from '../../media/clock.ts';
import type { OnnxModel } from '../spec.ts';
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
/** By model: why it does not run on the GPU as it should, so that the next one does its work. */
const losses = new Map<number, AppError>();
const memories = new Map<number, Memory>();
/** Runs follow each other; the promise of the last one. */
let tail: Promise<void> = Promise.resolve();

const post = (message: FromThread, transfer: ArrayBuffer[] = []): void => port.postMessage(message, transfer);

async function run(message: Extract<ToThread, { type: 'run' }>): Promise<void> {
  const { stream, model, width, height, input, output } = message;
  const runner = runners[model];
  if (runner === undefined) throw new Error(`There is no model ${model}.`);
  let memory = memories.get(stream);
  // Another size or another model: the recurrent state is void.
  if (memory?.model !== model || memory.width !== width || memory.height !== height) {
    forget(stream);
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
  // A frame that fails on the CPU is that frame's; on a GPU the device is gone, and every later one would fail, too.
  const lost = failed !== undefined && runner.onGpu && (await leaveGpu(model, failed));
  post({ type: 'done', input, output, busyUs, error: failed?.toJSON(), lost }, [input.buffer, output.buffer]);
}

/** Of a stream's memory given out: model, width, height (uint32, little-endian), then its state. */
const HEAD_BYTES = 12;

function recall(stream: number): void {
  try {
    post({ type: 'recalled', memory: memoryBytes(stream), error: undefined });
  } catch (error) {
    post({ type: 'recalled', memory: new Uint8Array(0), error: AppError.from(error, 'model.run').toJSON() });
  }
}

/** @returns nothing for a stream that remembers nothing: no model has worked for it yet, or none of those that did remembers */
function memoryBytes(stream: number): Uint8Array {
  const memory = memories.get(stream);
  const runner = runners[memory?.model ?? -1];
  if (memory === undefined || runner === undefined) return new Uint8Array(0);
  const head = Buffer.alloc(HEAD_BYTES);
  [memory.model, memory.width, memory.height].forEach((value, index) => head.writeUInt32LE(value, 4 * index));
  return Buffer.concat([head, runner.stateBytes(memory.state)]);
}

function remember(stream: number, bytes: Uint8Array): void {
  if (bytes.length < HEAD_BYTES) return;
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, HEAD_BYTES);
  const [model, width, height] = [0, 4, 8].map((at) => head.readUInt32LE(at)) as [number, number, number];
  const runner = runners[model];
  if (runner === undefined) throw new AppError('model.run', `There is no model ${model}, whose state was kept.`);
  memories.set(stream, { model, width, height, state: runner.stateFrom(bytes.subarray(HEAD_BYTES), width, height) });
}

/** Puts a model on the CPU. @returns whether the next model does its work instead */
async function leaveGpu(index: number, reason: AppError): Promise<boolean> {
  for (const [stream, memory] of memories) if (memory.model === index) forget(stream);
  const model = models[index];
  const before = runners[index];
  if (model === undefined) return false;
  const { gpu: _, ...onCpu } = model;
  runners[index] = await OnnxRunner.load(onCpu, threads);
  await before?.close().catch(() => undefined); // of a device that is gone
  if (index === models.length - 1) return false;
  losses.set(index, reason);
  return true;
}

async function loadOne(model: OnnxModel, index: number): Promise<void> {
  try {
    runners[index] = await OnnxRunner.load(model, threads);
  } catch (error) {
    const reason = AppError.from(error, 'model.invalid');
    if (model.gpu !== 'preferred' || reason.code !== 'model.device') throw reason;
    await leaveGpu(index, reason);
  }
}

async function load(): Promise<void> {
  for (const [index, model] of models.entries()) await loadOne(model, index);
  post({
    type: 'loaded',
    models: runners.map(({ layout, scale, fixedWidth, fixedHeight, onGpu, remembers }, index) => {
      const lost = losses.get(index)?.toJSON();
      return { layout, scale, fixedWidth, fixedHeight, onGpu, remembers, ...(lost === undefined ? {} : { lost }) };
    }),
  });
}

function forget(stream: number): void {
  for (const tensor of memories.get(stream)?.state ?? []) tensor.dispose();
  memories.delete(stream);
}

async function close(): Promise<void> {
  for (const stream of [...memories.keys()]) forget(stream);
  for (const runner of runners.splice(0)) await runner.close();
  port?.close();
}

port.on('message', (message: ToThread) => {
  tail = tail.then(() => {
    switch (message.type) {
      case 'run':
        return run(message);
      case 'forget':
        forget(message.stream);
        return undefined;
      case 'recall':
        recall(message.stream);
        return undefined;
      case 'remember':
        remember(message.stream, message.memory);
        return undefined;
      case 'close':
        return close();
    }
  });
});

tail = load().catch((error: unknown) =>
  post({ type: 'failed', error: AppError.from(error, 'model.invalid').toJSON() }),
);
