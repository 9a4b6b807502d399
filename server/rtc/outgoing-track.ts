import { randomInt } from 'node:crypto';
import { BurstSpreader } from '../media/burst-spreader.ts';
import type { PacketizedFrame } from '../media/packetizer.ts';
import type { ReportBlock } from '../media/rtcp.ts';
import { AUDIO_CLOCK_HZ, VIDEO_CLOCK_HZ, type MonotonicUs, type SourceCodec } from '../media/types.ts';
import type { ForwardPacket } from './peers.ts';
import type { AnswerMedia } from './sdp/answer.ts';
import type { ViewerTrackPlan } from './sdp/viewer-plan.ts';
import { SendStream, type OutgoingPacket, type RtpSender } from './send-stream.ts';
import type { StreamSsrcs } from './ssrc.ts';

/** Opus packets of 20 ms: the least step between two streams, so that none has the other's timestamp. */
const AUDIO_FRAME_TICKS = 960;

/**
 * One sent track: payloads that many viewers share under this viewer's sequence numbers and timestamps, whole frames spread
 * over milliseconds, packets of a publisher rewritten. It only writes: which frame may follow which is the caller's decision.
 */
export class OutgoingTrack {
  readonly id: string;
  readonly kind: 'video' | 'audio';
  keyframeRequestsReceived = 0;
  readonly #stream: SendStream;
  readonly #spreader = new BurstSpreader<OutgoingPacket>({ burstPackets: 30, spreadUs: 15_000 });
  readonly #videoOffset: number;
  #plan: ViewerTrackPlan;
  /** The forwarded stream: its sequence + offset is ours. */
  #forwarded: number | undefined;
  #sequenceOffset = 0;
  /** Audio: our timestamp = the stream's + offset. */
  #audioOffset = 0;
  #lastAudio: { readonly timestamp: number; readonly mediaTime: number } | undefined;

  /**
   * @param videoOffset RTP timestamp - media time of all video tracks of the viewer
   * @param ssrcs as SendStream takes them
   */
  constructor(plan: ViewerTrackPlan, transport: RtpSender, videoOffset: number, ssrcs?: StreamSsrcs) {
    this.id = plan.id;
    this.kind = plan.kind;
    this.#plan = plan;
    this.#videoOffset = videoOffset;
    this.#stream = new SendStream(transport, plan.kind === 'audio' ? AUDIO_CLOCK_HZ : VIDEO_CLOCK_HZ, plan, ssrcs);
  }

  get ssrc(): number {
    return this.#stream.ssrc;
  }

  get stream(): Omit<SendStream, 'send' | 'resend' | 'report'> {
    return this.#stream;
  }

  get plan(): ViewerTrackPlan {
    return this.#plan;
  }

  /** Packets of a spread frame that are not sent yet. */
  get pending(): number {
    return this.#spreader.pending;
  }

  /** The track in a new description; SSRCs, sequence numbers and timestamps go on. */
  update(plan: ViewerTrackPlan): void {
    this.#plan = plan;
  }

  /** @returns bytes sent now; the rest of a large frame follows by pump() */
  sendFrame({ frame, payloads }: PacketizedFrame, nowUs: MonotonicUs): number {
    const codec = this.#plan.payloadTypes.get(frame.codec);
    if (codec === undefined) return 0;
    const { mediaTime } = frame;
    const timestamp = mediaTime + this.#videoOffset;
    const last = payloads.length - 1;
    const packets = payloads.map((payload, at) => ({
      payloadType: codec.payloadType,
      rtxPayloadType: codec.rtx,
      marker: at === last,
      timestamp,
      mediaTime,
      payload,
    }));
    return this.#sendInOrder(this.#spreader.push(packets, nowUs), nowUs);
  }

  /** Sends what a spread frame has due. @returns bytes */
  pump(nowUs: MonotonicUs): number {
    return this.#spreader.pending === 0 ? 0 : this.#sendInOrder(this.#spreader.take(nowUs), nowUs);
  }

  /**
   * A publisher's packet. Sequence numbers keep the publisher's gaps (the viewer conceals or asks), not those between two
   * publishers. @returns bytes
   */
  forward(packet: ForwardPacket, codec: SourceCodec | 'opus', nowUs: MonotonicUs): number {
    const payload = this.#plan.payloadTypes.get(codec);
    if (payload === undefined) return 0;
    const changed = this.#forwarded !== packet.stream;
    const timestamp =
      this.kind === 'audio' ? this.#audioTimestamp(packet, changed) : packet.mediaTime + this.#videoOffset;
    if (changed) {
      this.#forwarded = packet.stream;
      this.#sequenceOffset = this.#stream.next - packet.sequence;
    }
    const index = packet.sequence + this.#sequenceOffset;
    if (index < 0) return 0; // reordered in front of the very first
    return this.#stream.send(
      {
        payloadType: payload.payloadType,
        rtxPayloadType: payload.rtx,
        marker: packet.marker,
        timestamp,
        mediaTime: packet.mediaTime,
        payload: packet.payload,
        colourSpace: packet.colourSpace,
      },
      index,
      nowUs,
    );
  }

  /** The next forwarded packet follows the last one without a gap, as that of another stream. */
  join(): void {
    this.#forwarded = undefined;
  }

  /** Answers a generic NACK. @returns bytes */
  resend(sequenceNumbers: readonly number[], nowUs: MonotonicUs): number {
    return this.#stream.resend(sequenceNumbers, nowUs);
  }

  onReceiverReport(block: ReportBlock, nowUs: MonotonicUs): void {
    this.#stream.onReceiverReport(block, nowUs);
  }

  /** A sender report; undefined before the first packet. @param mediaOriginUs as SendStream.report() takes it */
  report(mediaOriginUs: number, nowUs: MonotonicUs): Buffer | undefined {
    return this.#stream.report(mediaOriginUs, nowUs);
  }

  describe(streamId: string, cname: string): AnswerMedia {
    const { codecs, extensions } = this.#plan;
    const rtxSsrc = codecs.some(({ name }) => name === 'rtx') ? this.#stream.rtxSsrc : undefined;
    const send = { streamId, trackId: this.id, cname, ssrc: this.#stream.ssrc, rtxSsrc };
    return { direction: 'sendonly', codecs, extensions, send };
  }

  /** Lets go of payloads. */
  close(): void {
    this.#stream.clear();
    this.#spreader.clear();
  }

  toJSON(): object {
    const { packets, fractionLost, roundTripMs, deliveredBps, nacksReceived, retransmitted } = this.#stream;
    return {
      id: this.id,
      kind: this.kind,
      content: this.#plan.content,
      codecs: [...this.#plan.payloadTypes.keys()],
      ssrc: this.ssrc,
      packets,
      nextSequence: this.#stream.next & 0xffff,
      pending: this.pending,
      fractionLost,
      roundTripMs,
      deliveredBps,
      nacksReceived,
      retransmitted,
      keyframeRequestsReceived: this.keyframeRequestsReceived,
    };
  }

  #sendInOrder(packets: readonly OutgoingPacket[], nowUs: MonotonicUs): number {
    let bytes = 0;
    for (const packet of packets) bytes += this.#stream.send(packet, this.#stream.next, nowUs);
    return bytes;
  }

  /** A new stream goes on where the old one stopped, by the time that passed between them. */
  #audioTimestamp({ timestamp, mediaTime }: ForwardPacket, changed: boolean): number {
    if (changed) {
      const last = this.#lastAudio;
      const elapsed = last === undefined ? 0 : ((mediaTime - last.mediaTime) * AUDIO_CLOCK_HZ) / VIDEO_CLOCK_HZ;
      const begin =
        last === undefined
          ? randomInt(0, 0x7fffffff)
          : last.timestamp + Math.max(AUDIO_FRAME_TICKS, Math.round(elapsed));
      this.#audioOffset = begin - timestamp;
    }
    this.#lastAudio = { timestamp: timestamp + this.#audioOffset, mediaTime };
    return timestamp + this.#audioOffset;
  }
}
