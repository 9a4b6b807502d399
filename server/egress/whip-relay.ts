import { shownTarget, type TargetPolicy } from '../access/target-policy.ts';
import type { Broadcast } from '../broadcast/broadcast.ts';
import { KeyframeGate } from '../broadcast/keyframe-gate.ts';
import type { BroadcastStats } from '../broadcast/statistics.ts';
import type { SubscriberState, Subscription } from '../broadcast/subscriber.ts';
import { AppError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { ViewerReport } from '../media/bitrate-controller.ts';
import { packetize } from '../media/packetizer.ts';
import type { EncodedFrame, Rendition, ResultCodec, SourceCodec } from '../media/types.ts';
import type { ForwardPacket, PeerState, TargetPeer, TargetStack } from '../rtc/peers.ts';
import { TargetConnection, type ConnectionLimits, type PeerNetwork } from '../whip-client/target-connection.ts';
import { PostError } from '../whip-client/whip-client.ts';
import type { OutputRun, RunEvents, RunProgress } from './output-kind.ts';

export interface WhipRelayOptions {
  readonly id: string;
  /** Of the output: its vote about the shared bit rate. */
  readonly name: string;
  readonly url: string;
  readonly bearer: string | undefined;
  readonly track: 'result' | 'source';
  readonly broadcast: Pick<Broadcast, 'outputSize' | 'sourceCodec' | 'sourceReordered' | 'sourcePacketized'>;
  readonly rtc: TargetStack;
  readonly policy: TargetPolicy;
  /** `ice.interfaceAddresses`; a target on this machine is reached over its loopback interface. */
  readonly interfaceAddresses: readonly string[];
  readonly log: Pick<Log, 'info'>;
  readonly limits?: Partial<WhipRelayLimits>;
}

export interface WhipRelayLimits extends ConnectionLimits {
  /** From the answer until media can flow. */
  readonly connectWithinMs: number;
}

const CONNECT_WITHIN_MS = 15_000;
/** Until the target, its setting or the source is changed. */
const UNUSABLE_RETRY_MS = 60_000;
const RESULT_CODECS: readonly ResultCodec[] = ['H264', 'VP8'];
const ALL_CODECS: readonly SourceCodec[] = ['H264', 'VP8', 'VP9', 'AV1'];

/**
 * A broadcast on its way to another server by WHIP: one POST, one connection, until that is lost. It writes to UDP as a viewer's
 * peer does, so nothing waits for it; the renditions and the bit rate follow what the target reports.
 */
export class WhipRelay implements OutputRun {
  readonly id: string;
  readonly kind = 'relay';
  readonly wantsSource: boolean;
  readonly #options: WhipRelayOptions;
  readonly #subscription: Subscription;
  readonly #events: RunEvents;
  readonly #gate = new KeyframeGate();
  readonly #connection: TargetConnection;
  #peer: TargetPeer | undefined;
  #codec: ResultCodec = 'H264';
  #frames = 0;
  #bytes = 0;
  /** Failed or closed: nothing is reported any more. */
  #over = false;
  #closing: Promise<void> | undefined;

  constructor(options: WhipRelayOptions, subscription: Subscription, events: RunEvents) {
    this.id = options.id;
    this.wantsSource = options.track === 'source';
    this.#options = options;
    this.#subscription = subscription;
    this.#events = events;
    const { name, log } = options;
    this.#connection = new TargetConnection({
      ...{ ...options, purpose: 'publish' },
      onFailed: (what, { code, message }) => {
        log.info({ output: name, code, reason: message }, `whip.${what}Failed`);
      },
    });
    this.#connect().catch((thrown: unknown) => this.#onError(thrown));
  }

  get state(): SubscriberState {
    return this.#gate.state;
  }
  get codec(): ResultCodec {
    return this.#codec;
  }
  get renditions(): readonly Rendition[] {
    return this.wantsSource ? [] : this.#gate.renditions;
  }
  get bitrateBps(): number {
    return this.#peer?.getStats().bitrateBps ?? 0;
  }
  get progress(): RunProgress {
    const { url } = this.#options;
    return { target: shownTarget(new URL(url)), frames: this.#frames, bytes: this.#bytes, dropped: 0 };
  }

  report(): ViewerReport | undefined {
    if (!this.#gate.open || this.wantsSource || this.#peer === undefined) return undefined;
    return { ...this.#peer.getStats(), voter: `output ${this.#options.name}` };
  }

  want(rendition: Rendition): boolean {
    return !this.wantsSource && this.#gate.want(rendition);
  }

  restart(): void {
    this.#gate.restart();
  }

  onResult(frame: EncodedFrame): void {
    if (this.wantsSource || frame.codec !== this.#codec || !this.#gate.admits(frame)) return;
    this.#frames += 1;
    this.#bytes += frame.data.length;
    this.#peer?.sendResult(packetize(frame));
  }

  onSource(packet: ForwardPacket, codec: SourceCodec): void {
    if (!this.wantsSource || !this.#gate.open || this.#peer === undefined) return;
    if (!this.#peer.sourceCodecs.includes(codec)) {
      this.#fail(new AppError('target.rejected', `The source is ${codec} now, which the target was not offered.`), 0);
      return;
    }
    if (packet.marker) this.#frames += 1;
    this.#bytes += packet.payload.length;
    this.#peer.sendSource(packet, codec);
  }

  onAudio(packet: ForwardPacket): void {
    if (this.#gate.open) this.#peer?.sendAudio(packet);
  }

  onState(): void {
    // The service follows the broadcast.
  }

  onStats({ source }: BroadcastStats): void {
    if (!this.wantsSource) return;
    const { broadcast } = this.#options;
    if (!source.forwarded) this.#fail(reordered(), UNUSABLE_RETRY_MS);
    // It may have connected before the first picture said what the codec is.
    else if (!broadcast.sourcePacketized) this.#fail(notPacketized(broadcast.sourceCodec), UNUSABLE_RETRY_MS);
  }

  /** Resolves when the target has been left. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** No address with its path, no token. */
  toJSON(): object {
    const { kind, state, progress } = this;
    return { kind, state, ...progress, codec: this.#codec, stats: this.#peer?.getStats() };
  }

  async #connect(): Promise<void> {
    const { track, broadcast } = this.#options;
    const codecs = track === 'result' ? RESULT_CODECS : sourceCodecs(broadcast);
    await this.#connection.connect((network) => {
      const peer = this.#createPeer(network);
      this.#peer = peer;
      return {
        offer: () => peer.offer({ track, codecs }),
        acceptAnswer: async (answer) => {
          await peer.acceptAnswer(answer);
          this.#codec = peer.resultCodec;
        },
        close: () => peer.close(),
      };
    });
  }

  #createPeer(network: PeerNetwork): TargetPeer {
    const { rtc, broadcast, limits } = this.#options;
    return rtc.createTarget(
      {
        onState: (state, cause) => this.#onPeerState(state, cause),
        onKeyframeRequest: (of) => this.#subscription.requestKeyframe(of),
        onCandidate: ({ candidate }) => this.#connection.addCandidate(candidate),
      },
      {
        ...{ ...network, maxOutput: broadcast.outputSize },
        connectWithinMs: limits?.connectWithinMs ?? CONNECT_WITHIN_MS,
      },
    );
  }

  #onPeerState(state: PeerState, cause?: AppError): void {
    if (this.#over) return;
    if (state === 'connected' && this.#gate.connected()) {
      this.#subscription.started();
      this.#events.running();
    } else if (state === 'disconnected' && this.#gate.interrupted()) {
      this.#subscription.interrupted();
    } else if (state === 'closed') {
      this.#fail(cause ?? this.#connection.lost(this.#gate.state.kind !== 'connecting'), 0);
    }
  }

  #onError(thrown: unknown): void {
    if (thrown instanceof PostError) {
      this.#fail(thrown.error, thrown.retryAfterMs);
      return;
    }
    this.#fail(AppError.from(thrown), UNUSABLE_RETRY_MS);
  }

  #fail(error: AppError, retryAfterMs: number): void {
    if (this.#over) return;
    this.#over = true;
    this.#gate.close();
    this.#events.failed(error, retryAfterMs);
  }

  async #close(): Promise<void> {
    this.#over = true;
    this.#gate.close();
    await this.#connection.close();
  }
}

/** @throws AppError target.rejected */
function sourceCodecs(broadcast: WhipRelayOptions['broadcast']): readonly SourceCodec[] {
  const { sourceCodec, sourceReordered, sourcePacketized } = broadcast;
  if (sourceReordered) throw reordered();
  if (!sourcePacketized) throw notPacketized(sourceCodec);
  return sourceCodec === undefined ? ALL_CODECS : [sourceCodec];
}

function notPacketized(codec = 'video'): AppError {
  return new AppError('target.rejected', `The source is pulled ${codec}, of which there are no packets to forward.`, {
    remedy: 'Push the result, or pull the source in H264 or VP8, or by WHEP.',
  });
}

/** As WHEP's `?track=source`: its packets are forwarded as they are. */
function reordered(): AppError {
  return new AppError('target.rejected', 'The source has B-frames, which WebRTC does not show in order.', {
    remedy: 'Push the result, or let the publisher switch B-frames off.',
  });
}
