import { AppError } from '../errors.ts';
import { monotonicUs } from '../media/clock.ts';
import type { SessionRecorder } from '../media/session-recording.ts';
import type { RtpClock } from '../media/rtp-clock.ts';
import { readIceServers } from './ice/candidates.ts';
import type {
  ConnectOptions,
  PublisherListener,
  PublisherPeer,
  PulledPeer,
  PullStack,
  RtcOptions,
  RtcStack,
  TargetOptions,
  TargetPeer,
  TargetStack,
  ViewerListener,
  ViewerPeer,
  WatchedTracks,
} from './peers.ts';
import { PublisherConnection } from './publisher-connection.ts';
import { PAGE_LAYOUT, SOURCE_LAYOUT } from './sdp/viewer-plan.ts';
import { ViewerConnection } from './viewer-connection.ts';

/** One timer for all peers: interval at which all peers poll retransmissions, feedback, reports and liveness. */
const TICK_MS = 10;
const PUMP_MS = 2;

interface Ticking {
  readonly id: string;
  tick(nowUs: number): void;
  close(): Promise<void>;
  toJSON?(): object;
}

/** Our own WebRTC: ICE, DTLS, SRTP and RTP; of werift only its TURN client is left (ice/gathering.ts). */
export class PeerStack implements RtcStack, TargetStack, PullStack {
  readonly #options: RtcOptions;
  readonly #createRecorder: (() => SessionRecorder) | undefined;
  readonly #peers = new Map<string, Ticking>();
  readonly #errorListeners = new Set<(error: AppError) => void>();
  readonly #viewers = new Map<string, ViewerConnection>();
  #timer: NodeJS.Timeout | undefined;
  #pumpTimer: NodeJS.Timeout | undefined;

  /**
   * @param createRecorder makes a recorder for each publisher
   * @throws AppError config.invalid for ICE servers that cannot be used
   */
  constructor(options: RtcOptions, createRecorder?: () => SessionRecorder) {
    readIceServers(options);
    this.#options = options;
    this.#createRecorder = createRecorder;
  }

  /** Peers that are not closed. */
  get size(): number {
    return this.#peers.size;
  }

  /** The state of every peer that describes itself, for people who debug. */
  toJSON(): object {
    return { peers: [...this.#peers.values()].map((peer) => peer.toJSON?.() ?? { id: peer.id }) };
  }

  createPublisher(listener: PublisherListener, clock?: RtpClock): PublisherPeer {
    const recorder = this.#createRecorder?.();
    return this.#add(new PublisherConnection({ rtc: this.#options, clock, recorder }, listener, this.#owner));
  }

  createViewer(
    listener: ViewerListener,
    maxOutput: { readonly width: number; readonly height: number },
    tracks: WatchedTracks = 'page',
  ): ViewerPeer {
    const layout = tracks === 'source' ? SOURCE_LAYOUT : PAGE_LAYOUT;
    const viewer = this.#add(new ViewerConnection({ rtc: this.#options, maxOutput, layout }, listener, this.#owner));
    this.#viewers.set(viewer.id, viewer);
    return viewer;
  }

  createTarget(listener: ViewerListener, options: TargetOptions): TargetPeer {
    const { maxOutput } = options;
    const peer = this.#add(new ViewerConnection({ ...this.#towards(options), maxOutput }, listener, this.#owner));
    this.#viewers.set(peer.id, peer);
    return peer;
  }

  createPulled(listener: PublisherListener, options: ConnectOptions, clock?: RtpClock): PulledPeer {
    return this.#add(new PublisherConnection({ ...this.#towards(options), clock }, listener, this.#owner));
  }

  /** A server that we offer to. */
  #towards({ allowsAddress, interfaceAddresses, connectWithinMs }: ConnectOptions) {
    const rtc =
      interfaceAddresses === undefined
        ? this.#options
        : { ...this.#options, interfaceAddresses: [...interfaceAddresses] };
    return { rtc, target: { allows: allowsAddress, connectWithinMs } };
  }

  onError(listener: (error: AppError) => void): void {
    this.#errorListeners.add(listener);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#peers.values()].map((peer) => peer.close()));
    this.#stopTimer();
  }

  readonly #owner = {
    onClosed: ({ id }: { readonly id: string }): void => {
      this.#peers.delete(id);
      this.#viewers.delete(id);
      if (this.#peers.size === 0) this.#stopTimer();
    },
    onListenerError: (error: unknown): void => this.#report(error),
    onPending: (): void => this.#schedulePump(),
  };

  #add<T extends Ticking>(peer: T): T {
    this.#peers.set(peer.id, peer);
    this.#timer ??= setInterval(() => this.#tick(), TICK_MS);
    return peer;
  }

  #tick(): void {
    const nowUs = monotonicUs();
    for (const peer of [...this.#peers.values()]) {
      try {
        peer.tick(nowUs);
      } catch (error) {
        this.#report(error);
      }
    }
  }

  /** Spread keyframes of all viewers leave in one round; rounds end with the last packet. */
  #schedulePump(): void {
    this.#pumpTimer ??= setTimeout(() => {
      this.#pumpTimer = undefined;
      const nowUs = monotonicUs();
      let pending = 0;
      for (const viewer of this.#viewers.values()) {
        try {
          pending += viewer.pump(nowUs);
        } catch (error) {
          this.#report(error);
        }
      }
      if (pending > 0) this.#schedulePump();
    }, PUMP_MS);
  }

  #report(cause: unknown): void {
    const error =
      cause instanceof AppError
        ? cause
        : new AppError('peer.connection', `A peer failed: ${cause instanceof Error ? cause.message : String(cause)}`, {
            cause,
          });
    for (const listener of this.#errorListeners) listener(error);
  }

  #stopTimer(): void {
    clearInterval(this.#timer);
    clearTimeout(this.#pumpTimer);
    this.#timer = undefined;
    this.#pumpTimer = undefined;
  }
}
