import { stepTimes } from '../../server/media/steps.ts';
import { AppError } from '../../server/errors.ts';
import type {
  LeaveCause,
  PublishReply,
  PublishRequest,
  SessionSink,
  SessionService,
  ShownPictures,
  WatchReply,
  WatchRequest,
} from '../../server/broadcast/sessions.ts';
import type { BroadcastList, BroadcastStats } from '../../server/broadcast/statistics.ts';
import type { IceCandidate, IceParameters, IceServer } from '../../server/rtc/peers.ts';

/** The domain without WebRTC: remembers what it was asked and lets a test push anything to any session. */
export class FakeSessions implements SessionService {
  readonly sinks = new Map<string, SessionSink>();
  readonly left: { session: string; cause: LeaveCause }[] = [];
  readonly candidates: { session: string; candidate: IceCandidate }[] = [];
  readonly shown: ({ session: string } & ShownPictures)[] = [];
  readonly requests: (PublishRequest | WatchRequest)[] = [];
  readonly #listeners = new Set<() => void>();
  readonly #names = new Map<string, string>();
  #next = 1;
  capacity = 2;
  /** What publish() and watch() answer. */
  answer = 'answer';
  iceServers: readonly IceServer[] = [{ urls: 'stun:stun.example.org' }];
  /** Replaces what publish() does before it answers. */
  beforeReply: (sink: SessionSink) => Promise<void> = async () => {};

  welcome() {
    return {
      model: { kind: 'resize', label: 'Lanczos resize', superResolution: false, scale: 4, device: 'CPU' } as const,
      iceServers: this.iceServers,
    };
  }

  async publish(request: PublishRequest, sink: SessionSink): Promise<PublishReply> {
    this.requests.push(request);
    await this.beforeReply(sink);
    if (request.sdp === 'crash') throw new TypeError('secret internals');
    const token = this.#names.get(request.name);
    if (token !== undefined && token !== request.resumeToken) {
      throw new AppError('broadcast.nameTaken', `The name "${request.name}" is in use.`);
    }
    if (token === undefined && this.#names.size >= this.capacity) {
      throw new AppError('server.full', `All ${this.capacity} broadcasts are taken (limits.maxBroadcasts).`);
    }
    const session = this.#open(sink);
    const resumeToken = token ?? `token-of-${request.name}`;
    this.#names.set(request.name, resumeToken);
    return { session, resumeToken, sdp: this.answer };
  }

  async watch(request: WatchRequest, sink: SessionSink): Promise<WatchReply> {
    this.requests.push(request);
    await this.beforeReply(sink);
    return { session: this.#open(sink), sdp: this.answer, state: this.#names.has(request.name) ? 'live' : 'waiting' };
  }

  show(session: string, shown: ShownPictures): void {
    this.shown.push({ session, ...shown });
  }

  async restart(session: string, offerSdp: string): Promise<string> {
    return `answer of ${session} to ${offerSdp}`;
  }

  async restartIce(_session: string, { usernameFragment }: IceParameters): Promise<IceParameters> {
    return { usernameFragment: `ours-${usernameFragment}`, password: 'p'.repeat(32), candidates: ['candidate:1'] };
  }

  async addCandidate(session: string, candidate: IceCandidate): Promise<void> {
    this.candidates.push({ session, candidate });
  }

  async leave(session: string, cause: LeaveCause): Promise<void> {
    this.sinks.delete(session);
    this.left.push({ session, cause });
  }

  async kick(name: string, _error: AppError, onFound: (holder: string | undefined) => void): Promise<boolean> {
    if (!this.#names.delete(name)) return false;
    onFound(undefined);
    return true;
  }

  async endLost(): Promise<number> {
    return 0;
  }

  list(): BroadcastList {
    const broadcasts = [...this.#names.keys()].map((name) => ({
      name,
      state: 'live' as const,
      viewers: 0,
      sourceWidth: 320,
      sourceHeight: 180,
      outputWidth: 1280,
      outputHeight: 720,
      startedAt: '2026-11-22T20:00:00.000Z',
    }));
    return { broadcasts, capacity: { used: broadcasts.length, total: this.capacity } };
  }

  onListChanged(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get listListeners(): number {
    return this.#listeners.size;
  }

  changeList(): void {
    for (const listener of this.#listeners) listener();
  }

  #open(sink: SessionSink): string {
    const session = `session-${this.#next}`;
    this.#next += 1;
    this.sinks.set(session, sink);
    return session;
  }
}

export const someStats: BroadcastStats = {
  source: {
    width: 320,
    height: 180,
    framesPerSecond: 30,
    bitrateBps: 280_000,
    codec: 'VP8',
    packetsLost: 0,
    timestampsReplaced: 0,
    reorderMs: 0,
    forwarded: true,
  },
  output: { width: 1280, height: 720, framesPerSecond: 30, bitrateBps: 2_400_000, codec: 'H264' },
  model: {
    kind: 'resize',
    label: 'Lanczos resize',
    superResolution: false,
    scale: 4,
    device: 'CPU',
    rung: 0,
    rungLabel: 'full',
    rungCause: 'load',
  },
  addedLatencyMs: { p50: 9, p95: 17 },
  steps: { ...stepTimes(() => 0.4), upscaleMs: 3.1, encodeMs: 3.5 },
  pace: { delayMs: 10, framesLate: 0 },
  stepsP95: { ...stepTimes(() => 0.9), upscaleMs: 4.6, encodeMs: 5.2 },
  drops: { stale: 2 },
  load: 0.21,
  viewers: 1,
  audio: { present: false, delayMs: 0 },
};
