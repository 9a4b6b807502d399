import { AppError } from '../../errors.ts';
import type { FromMuxer, MediaItem, ToMuxer } from './messages.ts';

export interface MuxerListener {
  onRunning(target: string): void;
  onNeedKeyframe(): void;
  /** Once; nothing follows. */
  onFailed(error: AppError): void;
}

/** What a session uses of its process. */
export interface SessionProcess {
  send(message: ToMuxer): void;
  kill(): void;
}

/** Items on their way to the process. Beyond it they wait in the output's bounded queue. */
const WINDOW_ITEMS = 16;
/** A file is completed, a server is left. */
const CLOSE_MS = 4_000;

/** One target in a muxer's process, as the server sees it. */
export class MuxerSession {
  readonly id: number;
  /** Resolves when nothing is sent or heard any more. */
  readonly ended: Promise<void>;
  readonly #process: SessionProcess;
  readonly #listener: MuxerListener;
  #end: () => void = () => undefined;
  #state: 'open' | 'closing' | 'ended' = 'open';
  #opened = false;
  #inFlight = 0;
  #wake: (() => void) | undefined;

  constructor(id: number, process: SessionProcess, listener: MuxerListener) {
    this.id = id;
    this.#process = process;
    this.#listener = listener;
    this.ended = new Promise((resolve) => (this.#end = resolve));
  }

  /** It waits for the process: for an answer, or for room. */
  get waits(): boolean {
    return this.#state !== 'ended' && (this.#inFlight > 0 || this.#state === 'closing');
  }

  /** Resolves when another item may be sent. @returns false when none can be sent any more */
  async ready(): Promise<boolean> {
    while (this.#state === 'open' && this.#inFlight >= WINDOW_ITEMS) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    return this.#state === 'open';
  }

  send(item: MediaItem): void {
    if (this.#state !== 'open') return;
    this.#inFlight += 1;
    this.#process.send({ type: 'media', session: this.id, item });
  }

  expectSound(expected: boolean): void {
    if (this.#state === 'open') this.#process.send({ type: 'sound', session: this.id, expected });
  }

  /** Completes what is written; resolves when it is left, at the latest after some seconds. Idempotent. */
  async close(): Promise<void> {
    if (this.#state === 'open') {
      this.#state = 'closing';
      this.#wakeUp();
      this.#process.send({ type: 'close', session: this.id });
      const timer = setTimeout(() => this.#process.kill(), CLOSE_MS);
      void this.ended.then(() => clearTimeout(timer));
    }
    await this.ended;
  }

  onMessage(message: Exclude<FromMuxer, { type: 'ready' }>): void {
    if (this.#state === 'ended') return;
    switch (message.type) {
      case 'taken':
        this.#inFlight -= 1;
        this.#wakeUp();
        break;
      case 'running':
        this.#opened = true;
        if (this.#state === 'open') this.#listener.onRunning(message.target);
        break;
      case 'needKeyframe':
        if (this.#state === 'open') this.#listener.onNeedKeyframe();
        break;
      case 'failed':
        this.fail(AppError.fromJSON(message.error));
        break;
      case 'closed':
        this.#finish();
        break;
    }
  }

  /** By its target, or because its process has ended. */
  fail(error: AppError): void {
    const wasOpen = this.#state === 'open';
    this.#finish();
    if (wasOpen) this.#listener.onFailed(error);
  }

  toJSON(): object {
    return { state: this.#state, opened: this.#opened, inFlight: this.#inFlight };
  }

  #finish(): void {
    this.#state = 'ended';
    this.#wakeUp();
    this.#end();
  }

  #wakeUp(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}
