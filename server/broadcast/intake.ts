import { AppError } from '../errors.ts';
import type { MonotonicUs } from '../media/types.ts';
import type { Arrival } from './arrivals.ts';
import type { Source } from './source.ts';
import type { SessionState } from './statistics.ts';

/** An offer that does not connect is given up: ICE and DTLS take 1 s, through TURN on a bad link a few. */
const CONNECT_WITHIN_US = 12_000_000;
/** A source that is connected but sends no picture gives up its session to others. */
const PICTURE_WITHIN_US = 15_000_000;
/** A camera sends more often; a shared screen on which nothing changes may send nothing. */
const STILL_AFTER_US = 1_000_000;

type Progress =
  | { readonly kind: 'connecting'; readonly sinceUs: MonotonicUs }
  | { readonly kind: 'connected'; readonly sinceUs: MonotonicUs }
  | { readonly kind: 'delivering'; readonly lastUnitAtUs: MonotonicUs };

/** The present source of a broadcast and how far it has come: connecting, connected, delivering pictures. */
export class Intake {
  readonly source: Source;
  readonly #arrival: Arrival;
  readonly #ended = new AbortController();
  #progress: Progress;
  #pushed: SessionState | undefined;

  constructor(source: Source, arrival: Arrival, nowUs: MonotonicUs) {
    this.source = source;
    this.#arrival = arrival;
    this.#progress = { kind: 'connecting', sinceUs: nowUs };
  }

  /** Aborted when the session is over. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  onConnected(nowUs: MonotonicUs): void {
    if (this.#progress.kind === 'connecting') this.#progress = { kind: 'connected', sinceUs: nowUs };
  }

  /** @returns true for the first one */
  onUnit(atUs: MonotonicUs): boolean {
    const first = this.#progress.kind !== 'delivering';
    if (first) this.#arrival.settle();
    this.#progress = { kind: 'delivering', lastUnitAtUs: atUs };
    return first;
  }

  state(nowUs: MonotonicUs, pauseAfterMs: number): SessionState {
    if (this.#progress.kind !== 'delivering') return 'waiting';
    return nowUs - this.#progress.lastUnitAtUs > pauseAfterMs * 1000 ? 'paused' : 'live';
  }

  /** It has sent pictures, and sends none at present: nothing on a shared screen changes, or the source is paused. */
  isStill(nowUs: MonotonicUs): boolean {
    return this.#progress.kind === 'delivering' && nowUs - this.#progress.lastUnitAtUs > STILL_AFTER_US;
  }

  /** Once for each change. */
  pushState(state: SessionState, reason: string, error?: AppError): void {
    if (state === this.#pushed || this.#pushed === 'ended') return;
    this.#pushed = state;
    this.source.onState(state, reason, error);
  }

  /** @returns why the source is to be given up */
  overdue(nowUs: MonotonicUs): AppError | undefined {
    const progress = this.#progress;
    if (progress.kind === 'connecting' && nowUs - progress.sinceUs > CONNECT_WITHIN_US) {
      return new AppError('peer.connection', `No connection within ${CONNECT_WITHIN_US / 1e6} s of the offer.`);
    }
    if (progress.kind === 'connected' && nowUs - progress.sinceUs > PICTURE_WITHIN_US) {
      return new AppError('publish.noPicture', `No picture within ${PICTURE_WITHIN_US / 1e6} s of the connection.`);
    }
    return undefined;
  }

  /** The session is over, or another source has taken its place. Idempotent. */
  async close(reason?: string, error?: AppError): Promise<void> {
    this.#arrival.leave();
    this.#ended.abort();
    if (reason !== undefined) this.pushState('ended', reason, error);
    await this.source.close();
  }
}
