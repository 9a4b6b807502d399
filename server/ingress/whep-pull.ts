import type { TargetPolicy } from '../access/target-policy.ts';
import type { Source, SourceSink, SourceStats } from '../broadcast/source.ts';
import type { SessionState } from '../broadcast/statistics.ts';
import { AppError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { RtpClock } from '../media/rtp-clock.ts';
import type { MonotonicUs } from '../media/types.ts';
import type { PeerState, PulledPeer, PullStack } from '../rtc/peers.ts';
import { TargetConnection, type PeerNetwork } from '../whip-client/target-connection.ts';
import { PostError } from '../whip-client/whip-client.ts';
import { ended, type Pull, type PullEvents } from './pull.ts';

export interface WhepPullOptions {
  readonly id: string;
  readonly url: string;
  readonly bearer: string | undefined;
  /** Of the POST, of connecting after it, and of silence. */
  readonly timeoutMs: number;
  /** Of the broadcast. */
  readonly clock: RtpClock | undefined;
  readonly rtc: PullStack;
  readonly policy: TargetPolicy;
  /** `ice.interfaceAddresses` */
  readonly interfaceAddresses: readonly string[];
  readonly nowUs: () => MonotonicUs;
  readonly log: Pick<Log, 'info'>;
}

/**
 * One connection to a WHEP endpoint, and the source that it is: we offer to receive, the server answers and sends. Its packets
 * take the way of a publisher's: untouched for viewers of the original, as access units to the pipeline.
 */
export class WhepPull implements Pull, Source {
  readonly id: string;
  readonly #options: WhepPullOptions;
  readonly #events: PullEvents;
  readonly #connection: TargetConnection;
  #peer: PulledPeer | undefined;
  #opened = false;
  #sink: SourceSink | undefined;
  #state: SessionState = 'waiting';
  /** The newest RTP or RTCP packet. */
  #heard: { readonly packets: number; readonly atUs: MonotonicUs };
  #over = false;
  #closing: Promise<void> | undefined;

  constructor(options: WhepPullOptions, events: PullEvents) {
    this.id = options.id;
    this.#options = options;
    this.#events = events;
    this.#heard = { packets: 0, atUs: options.nowUs() };
    const { url, bearer, policy, interfaceAddresses, timeoutMs, log } = options;
    this.#connection = new TargetConnection({
      ...{ url, bearer, policy, interfaceAddresses, purpose: 'play' },
      limits: { postWithinMs: timeoutMs },
      onFailed: (what, { code, message }) => {
        log.info({ code, reason: message }, `whep.${what}Failed`);
      },
    });
    this.#connection
      .connect((network) => (this.#peer = this.#createPeer(network)))
      .catch((thrown: unknown) => {
        if (thrown instanceof PostError) this.#end(thrown.error, thrown.retryAfterMs);
        else this.#end(AppError.from(thrown));
      });
  }

  start(sink: SourceSink): void {
    this.#sink = sink;
    sink.onConnected();
  }

  requestKeyframe(): void {
    this.#peer?.requestKeyframe();
  }

  getStats(): SourceStats {
    const none = { codec: undefined, bitrateBps: 0, framesPerSecond: 0, packetsLost: 0 };
    return this.#peer?.getStats() ?? { ...none, timestampsReplaced: 0, hasAudio: false };
  }

  onState(state: SessionState, _reason: string, error?: AppError): void {
    this.#state = state;
    if (state === 'ended') this.#end(error ?? ended());
  }

  /** Sender reports count: a screen on which nothing changes has no pictures for minutes. */
  onStats(): void {
    const packets = this.#peer?.getStats().packetsReceived ?? 0;
    const atUs = this.#options.nowUs();
    if (packets !== this.#heard.packets) this.#heard = { packets, atUs };
    const { timeoutMs } = this.#options;
    if (atUs - this.#heard.atUs <= timeoutMs * 1000) return;
    const message = `${this.#connection.target} has sent nothing for ${timeoutMs / 1000} s.`;
    this.#lose(new AppError('target.unreachable', message));
  }

  /** DELETE, then close_notify. */
  close(): Promise<void> {
    this.#sink = undefined;
    this.#closing ??= this.#connection.close();
    this.#end(ended());
    return this.#closing;
  }

  toJSON(): object {
    return { kind: 'whep', state: this.#state, peer: this.#peer?.state, stats: this.getStats() };
  }

  #createPeer(network: PeerNetwork): PulledPeer {
    const { rtc, clock, timeoutMs } = this.#options;
    return rtc.createPulled(
      {
        onState: (state, cause) => this.#onPeerState(state, cause),
        onAccessUnit: (unit) => this.#sink?.onAccessUnit(unit),
        onVideoPacket: (packet, codec) => this.#sink?.onVideoPacket(packet, codec),
        onAudioPacket: (packet) => this.#sink?.onAudioPacket(packet),
        onDrop: (reason, count) => this.#sink?.onDrop(reason, count),
        onCandidate: ({ candidate }) => this.#connection.addCandidate(candidate),
      },
      { ...network, connectWithinMs: timeoutMs },
      clock,
    );
  }

  #onPeerState(state: PeerState, cause?: AppError): void {
    if (state === 'connected' && !this.#opened && !this.#over) {
      this.#opened = true;
      this.#heard = { packets: 0, atUs: this.#options.nowUs() };
      this.#events.onOpened(this);
    } else if (state === 'closed') {
      this.#lose(cause ?? this.#connection.lost(this.#opened));
    }
  }

  /** The broadcast learns of it, too. */
  #lose(error: AppError): void {
    if (this.#over) return;
    this.#sink?.onEnded('source lost', error);
    this.#end(error);
  }

  #end(error: AppError, retryAfterMs = 0): void {
    if (this.#over) return;
    this.#over = true;
    this.#events.onEnded(error, retryAfterMs);
  }
}
