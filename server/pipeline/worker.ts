import { parentPort, workerData } from 'node:worker_threads';
import { AppError } from '../errors.ts';
import { PipelineCore } from './core.ts';
import type { FromPipeline, PipelineOptions, ToPipeline } from './messages.ts';

/** A pipeline's thread: a message port around PipelineCore. Started by Pipeline (pipeline.ts) through boot.mjs. */
const port = parentPort;
if (port === null) throw new Error('server/pipeline/worker.ts runs in a worker thread only.');

const post = (message: FromPipeline, transfer: ArrayBuffer[] = []): void => port.postMessage(message, transfer);
const core = new PipelineCore(workerData as PipelineOptions, post);

async function close(): Promise<void> {
  await core.close();
  post({ type: 'closed' });
  port?.close();
}

port.on('message', (message: ToPipeline) => {
  if (message.type === 'close') void close();
  else core.handle(message);
});

core.start().catch((error: unknown) => post({ type: 'error', error: AppError.from(error).toJSON() }));
