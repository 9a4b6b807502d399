import type { Source } from '../broadcast/source.ts';
import { AppError } from '../errors.ts';

/** One connection to a source, whatever brings it: a process (process-pull.ts) or WebRTC (whep-pull.ts). */
export interface Pull {
  /** Idempotent; resolves when nothing of it is left. Nothing is delivered any more. */
  close(): Promise<void>;
}

export interface PullEvents {
  /** Once at most: it can deliver, as the source of a broadcast. */
  onOpened(source: Source): void;
  /** What of the stream is left out. */
  onNotice(notice: string): void;
  /**
   * The connection is over, whatever ended it; calls after the first change nothing.
   * @param retryAfterMs how long the target asks to be left alone
   */
  onEnded(error: AppError, retryAfterMs?: number): void;
}

/** Nobody's fault: the stream has come to its end. */
export function ended(): AppError {
  return new AppError('target.unreachable', 'The source has ended.');
}
