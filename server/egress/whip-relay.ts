import { isLoopbackAddress } from '../access/address.ts';
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
import { postOffer, PostError, WHIP_SCHEMES, type WhipSession } from '../whip-client/whip-client.ts';
import type { OutputRun, RunEvents, RunProgress } from './output-kind.ts';

export interface WhipRelayOptions {
  readonly id: string;
  /** Of the output: its vote about the shared bit rate. */
  readonly name: string;
  readonly url: string;
  readonly bearer: string | undefined;
  readonly track: 'result' | 'source';
  readonly broadcast: Pick<Broadcast, 'outputSize' | 'sourceCodec' | 'sourceReordered'>;
  readonly rtc: TargetStack;
  readonly policy: TargetPolicy;
  /** `ice.interfaceAddresses`; a target on this machine is reached over its loopback interface. */
  readonly interfaceAddresses: readonly string[];
  readonly log: Pick<Log, 'info'>;
  readonly limits?: Partial<WhipRelayLimits>;
}

export interface WhipRelayLimits {
  /** From the answer until media can flow. */
  readonly connectWithinMs: number;
  /** A POST under way when the output ends: its answer alone names the session that is to be deleted. */
  readonly postGraceMs: number;
  /** How long DTLS waits for the DELETE: the target then knows that the publisher has left, and not that its network has. */
  readonly deleteFirstMs: number;
}

const LIMITS: WhipRelayLimits = { connectWithinMs: 15_000, postGraceMs: 2_000, deleteFirstMs: 1_000 };
/** Until the target, its setting or the source is changed. */
const UNUSABLE_RETRY_MS = 60_000;
const LOOPBACK = ['127.0.0.1', '::1'];
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
  readonly #limits: WhipRelayLimits;
  readonly #subscription: Subscription;
  readonly #events: RunEvents;
  readonly #gate = new KeyframeGate();
  readonly #cancel = new AbortController();
  readonly #connecting: Promise<void>;
  #peer: TargetPeer | undefined;
  #session: WhipSession | undefined;
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
    this.#limits = { ...LIMITS, ...options.limits };
    this.#subscription = subscription;
    this.#events = events;
    this.#connecting = this.#connect().catch((thrown: unknown) => this.#onError(thrown));
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
    if (this.wantsSource && !source.forwarded) this.#fail(reordered(), UNUSABLE_RETRY_MS);
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
    const { url, bearer, policy, rtc, track, broadcast, interfaceAddresses } = this.#options;
    const codecs = track === 'result' ? RESULT_CODECS : sourceCodecs(broadcast);
    const { addresses } = await policy.resolve(url, WHIP_SCHEMES);
    if (this.#over) return;
    const peer = rtc.createTarget(
      {
        onState: (state, cause) => this.#onPeerState(state, cause),
        onKeyframeRequest: (of) => this.#subscription.requestKeyframe(of),
      },
      {
        maxOutput: broadcast.outputSize,
        allowsAddress: (address) => policy.permits(address),
        interfaceAddresses: addresses.every(isLoopbackAddress) ? LOOPBACK : interfaceAddresses,
        connectWithinMs: this.#limits.connectWithinMs,
      },
    );
    this.#peer = peer;
    const offer = await peer.offer({ track, codecs });
    if (this.#over) return;
    this.#session = await postOffer({ url, offer, bearer, policy, signal: this.#cancel.signal });
    // close() ends what was made meanwhile.
    if (this.#over) return;
    await acceptAnswer(peer, this.#session.answer, this.progress.target);
    this.#codec = peer.resultCodec;
  }

  #onPeerState(state: PeerState, cause?: AppError): void {
    if (this.#over) return;
    if (state === 'connected' && this.#gate.connected()) {
      this.#subscription.started();
      this.#events.running();
    } else if (state === 'disconnected' && this.#gate.interrupted()) {
      this.#subscription.interrupted();
    } else if (state === 'closed') {
      this.#fail(cause ?? this.#lost(), 0);
    }
  }

  #lost(): AppError {
    const { target } = this.progress;
    if (this.#gate.state.kind !== 'connecting') {
      return new AppError('peer.connection', `${target} ended the connection, or was silent for too long.`);
    }
    return new AppError('peer.connection', `No media path to ${target} was found.`, {
      remedy:
        "Check that UDP to the target's media addresses is open, and that targets.allow has them if they are private.",
    });
  }

  #onError(thrown: unknown): void {
    if (thrown instanceof PostError) {
      this.#fail(thrown.error, thrown.retryAfterMs);
      return;
    }
    const error = AppError.from(thrown);
    // A resolver that fails is usually back soon.
    this.#fail(error, error.code === 'target.unreachable' ? 0 : UNUSABLE_RETRY_MS);
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
    const grace = setTimeout(() => this.#cancel.abort(), this.#limits.postGraceMs);
    await this.#connecting;
    clearTimeout(grace);
    const deleted = this.#delete();
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, this.#limits.deleteFirstMs);
    });
    await Promise.race([deleted, patience]);
    clearTimeout(timer);
    await this.#peer?.close();
    await deleted;
  }

  /** A target that cannot be asked learns of the end by DTLS. */
  async #delete(): Promise<void> {
    try {
      await this.#session?.end();
    } catch (thrown) {
      const { code, message } = AppError.from(thrown);
      this.#options.log.info({ output: this.#options.name, code, reason: message }, 'whip.deleteFailed');
    }
  }
}

/** @throws AppError target.answer */
async function acceptAnswer(peer: TargetPeer, answer: string, target: string): Promise<void> {
  try {
    await peer.acceptAnswer(answer);
  } catch (thrown) {
    const { message, remedy } = AppError.from(thrown);
    throw new AppError('target.answer', `The SDP of ${target} cannot be used. ${message}`, { remedy, cause: thrown });
  }
}

/** @throws AppError target.rejected */
function sourceCodecs({ sourceCodec, sourceReordered }: WhipRelayOptions['broadcast']): readonly SourceCodec[] {
  if (sourceReordered) throw reordered();
  return sourceCodec === undefined ? ALL_CODECS : [sourceCodec];
}

/** As WHEP's `?track=source`: its packets are forwarded as they are. */
function reordered(): AppError {
  return new AppError('target.rejected', 'The source has B-frames, which WebRTC does not show in order.', {
    remedy: 'Push the result, or let the publisher switch B-frames off.',
  });
}
