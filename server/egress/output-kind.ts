import type { Subscriber, Subscription } from '../broadcast/subscriber.ts';
import type { OutputConfig } from '../config/config.ts';
import type { AppError } from '../errors.ts';

/** What an output has carried so far. */
export interface RunProgress {
  /** For people: a file, or an address without user, password, path and query. */
  readonly target: string;
  readonly frames: number;
  readonly bytes: number;
  /** Frames that did not fit into the queue (`egress-slow`). */
  readonly dropped: number;
}

/** What a run says about itself; after failed() nothing more is heard of it. */
export interface RunEvents {
  /** The target takes what comes. May be called again. */
  running(): void;
  /** Over: the next run begins after the backoff, and not before `retryAfterMs`. */
  failed(error: AppError, retryAfterMs?: number): void;
}

export interface RunRequest<Config> {
  /** Of the subscriber. */
  readonly id: string;
  readonly output: Config;
  readonly broadcast: string;
  readonly subscription: Subscription;
  readonly events: RunEvents;
}

/** One output at work on one broadcast: a subscriber that lasts until its target fails or the broadcast ends. */
export interface OutputRun extends Subscriber {
  readonly progress: RunProgress;
}

/** How outputs of one `type` are made. open() must not block: what takes time ends in running() or failed(). */
export interface OutputKind<Config extends OutputConfig> {
  /** @throws AppError as failed() would have it */
  open(request: RunRequest<Config>): OutputRun;
  /** Before the first run, and again when an output is started: what the operator can mend at once. @throws AppError */
  prepare?(output: Config): void;
  /** After all runs are closed. */
  close?(): Promise<void>;
}
