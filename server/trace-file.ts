import { createWriteStream, type WriteStream } from 'node:fs';
import { spansOf, type FrameTrace } from './media/steps.ts';
import type { EncodedFrame, MonotonicUs } from './media/types.ts';

/**
 * Single frames' steps as spans, in Chrome's trace-event format (JSON array form, whose end may be missing): opens in
 * https://ui.perfetto.dev and chrome://tracing. One row per broadcast, one frame a second, so that spans of a row never overlap and
 * hours of a running server stay readable.
 */

const INTERVAL_US = 1_000_000;
/** Some 350 000 spans; what would come after is left out. */
const MAX_BYTES = 64 * 2 ** 20;
const PROCESS = 1;

interface Row {
  readonly id: number;
  /** The next frame must have arrived after this. */
  nextUs: MonotonicUs;
}

export class TraceFile {
  readonly #stream: WriteStream;
  readonly #rows = new Map<string, Row>();
  #bytes = 0;
  #state: 'open' | 'full' | 'failed' | 'closed' = 'open';

  readonly #file: string;
  readonly #maxBytes: number;
  readonly #onProblem: (reason: string) => void;

  /** @param onProblem called once, when the file cannot be written or is full */
  constructor(file: string, onProblem: (reason: string) => void = () => undefined, maxBytes = MAX_BYTES) {
    this.#file = file;
    this.#maxBytes = maxBytes;
    this.#onProblem = onProblem;
    this.#stream = createWriteStream(file);
    this.#stream.on('error', (error) => this.#stop('failed', error.message));
    this.#write('[\n', '');
  }

  /** A frame whose first packet has gone out. */
  frame(broadcast: string, { mediaTime, codec, width, height, keyframe, data }: EncodedFrame, trace: FrameTrace): void {
    if (this.#state !== 'open') return;
    const row = this.#rows.get(broadcast) ?? this.#newRow(broadcast);
    const { receivedAtUs, sentAtUs } = trace;
    if (receivedAtUs < row.nextUs) return;
    row.nextUs = Math.max(receivedAtUs + INTERVAL_US, sentAtUs);
    const args = { mediaTime, codec, width, height, keyframe, bytes: data.length };
    const span = { cat: 'frame', ph: 'X', pid: PROCESS, tid: row.id };
    this.#event({ ...span, name: 'frame', ts: receivedAtUs, dur: sentAtUs - receivedAtUs, args });
    for (const { step, fromUs, toUs } of spansOf(trace)) {
      this.#event({ ...span, name: step, ts: fromUs, dur: Math.max(0, toUs - fromUs) });
    }
    if (this.#bytes > this.#maxBytes) {
      this.#stop('full', `it has ${this.#maxBytes / 2 ** 20} MiB; later frames are left out`);
    }
  }

  /** Idempotent; resolves when all is on disk. */
  close(): Promise<void> {
    if (this.#state === 'failed' || this.#stream.writableEnded) return Promise.resolve();
    this.#event({ name: 'process_name', ph: 'M', pid: PROCESS, args: { name: 'FlashVSR Live' } }, '\n]\n');
    this.#state = 'closed';
    return new Promise((resolve) => this.#stream.end(() => resolve()));
  }

  #newRow(broadcast: string): Row {
    const row = { id: this.#rows.size + 1, nextUs: -Infinity };
    this.#rows.set(broadcast, row);
    this.#event({ name: 'thread_name', ph: 'M', pid: PROCESS, tid: row.id, args: { name: broadcast } });
    return row;
  }

  #event(event: object, end = ',\n'): void {
    this.#write(JSON.stringify(event), end);
  }

  #write(text: string, end: string): void {
    this.#bytes += text.length + end.length;
    this.#stream.write(text + end);
  }

  #stop(state: 'full' | 'failed', reason: string): void {
    if (this.#state !== 'open') return;
    this.#state = state;
    this.#onProblem(`The trace file ${this.#file} is not written any more: ${reason}.`);
  }
}
