import { parentPort, workerData } from 'node:worker_threads';
import { AppError } from '../errors.ts';
import { PipelineCore } from './core.ts';
import type { FromPipeline, PipelineOptions, ToPipeline } from './messages.ts';

/** A pipeline's thread: a message port around PipelineCore. Started by Pipeline (pipeline.ts) through server/boot.mjs. */
const port = parentPort;
if (port === null) throw new Error('server/pipeline/worker.ts runs in a worker thread only.');

const post = (message: FromPipeline, transfer: ArrayBuffer[] = []): void => port.postMessage(message, transfer);
const core = new PipelineCore(workerData as PipelineOptions, post);

async function close(): Promise<void> {
  await core.close();
  post({ type: 'closed' });
  port?.close();
}

/**
 * Node hands on up to a thousand messages in one turn of the event loop while new ones keep coming: a thread that does its
 * work right there has no time for timers once it falls behind, and the overload ladder is a timer. So messages are only
 * collected; the messages that have come are then handled together, in one turn.
 */
const inbox: Exclude<ToPipeline, { type: 'close' }>[] = [];
port.on('message', (message: ToPipeline) => {
  if (message.type === 'close') {
    inbox.length = 0;
    void close();
    return;
  }
  inbox.push(message);
  if (inbox.length === 1) setImmediate(work);
});

function work(): void {
  const messages = inbox.splice(0);
  core.handleAll(messages);
  const units = messages.filter(({ type }) => type === 'accessUnit').length;
  if (units > 0) post({ type: 'taken', units });
}

post({ type: 'taken', units: 0 });

core.start().catch((error: unknown) => post({ type: 'error', error: AppError.from(error).toJSON() }));
