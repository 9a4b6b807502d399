import { FrameAssembler } from '../media/assembler.ts';
import { AudioAlignment } from '../media/audio-alignment.ts';
import { monotonicUs } from '../media/clock.ts';
import { parseColourSpace } from '../media/colour-space.ts';
import { JitterBuffer, type Ordered } from '../media/jitter-buffer.ts';
import { KeyframeRequests } from '../media/keyframe-requests.ts';
import { buildNack, buildPictureLoss, type ReportBlock, type RtcpMessage } from '../media/rtcp.ts';
import type { RtpClock } from '../media/rtp-clock.ts';
import { findExtension, type RtpPacket } from '../media/rtp.ts';
import {
  AUDIO_CLOCK_HZ,
  VIDEO_CLOCK_HZ,
  type AccessUnit,
  type DropReason,
  type MediaTime,
  type MonotonicUs,
  type SourceCodec,
} from '../media/types.ts';
import type { ForwardPacket } from './peers.ts';
import { RateMeter } from './rate-meter.ts';
import { ReceiveStream } from './receive-stream.ts';
import type { Encoding } from './rtp-demux.ts';
import type { IncomingTrackPlan } from './sdp/publisher-plan.ts';

/** One received track: from RTP packets to access units in order (video) or packets on the video's time line (audio). */

export type SenderReport = Extract<RtcpMessage, { kind: 'senderReport' }>;

/** What a track uses of its connection. */
export interface TrackTransport {
  readonly secure: boolean;
  readonly roundTripUs: number | undefined;
  sendRtcp(...compound: Buffer[]): void;
}

export interface IncomingVideoListener {
  onAccessUnit(unit: AccessUnit): void;
  onPacket(packet: ForwardPacket, codec: SourceCodec): void;
  onDrop(reason: DropReason, count: number): void;
  /** The time line that audio follows. */
  onMediaTime(mediaTime: MediaTime, receivedAtUs: MonotonicUs): void;
  onReport(ntpUs: number, mediaTime: MediaTime): void;
  onRestart(): void;
}

/** Another SSRC takes over only when the current one has been silent this long: one source, no flip-flop. */
const SWITCH_AFTER_US = 300_000;
/** Another encoding of a simulcast takes over when the one received has been silent this long. */
const ENCODING_SILENT_US = 2_000_000;
/** Two requests fit: two round trips, timers on both sides and the sender's pacing. Bounded, for latency's sake. */
const REQUEST_SLACK_US = 60_000;
const MAX_WAIT_US = 300_000;
/** Keeps one NACK packet well under the MTU even if no two numbers share a mask. */
const MAX_NACKS_PER_PACKET = 120;

interface VideoPacket {
  readonly packet: RtpPacket;
  readonly codec: SourceCodec;
}

export interface IncomingVideoOptions {
  readonly localSsrc: number;
  readonly jitterMs: number;
  readonly clock: RtpClock;
  readonly transport: TrackTransport;
}

export class IncomingVideoTrack {
  readonly kind = 'video';
  readonly id: string;
  readonly clock: RtpClock;
  codec: SourceCodec | undefined;
  packetsLost = 0;
  nacksSent = 0;
  keyframeRequestsSent = 0;
  readonly #options: IncomingVideoOptions;
  readonly #listener: IncomingVideoListener;
  readonly #jitterUs: number;
  readonly #jitter: JitterBuffer<VideoPacket>;
  readonly #assembler: FrameAssembler;
  readonly #keyframes = new KeyframeRequests(500);
  readonly #frames = new RateMeter();
  #plan: IncomingTrackPlan;
  #stream: ReceiveStream | undefined;
  /** Of the encoding that is received. */
  #rid: string | undefined;
  /** Empty packets taken out of the forwarded sequence so far. */
  #paddingPackets = 0;
  #closed = false;

  constructor(plan: IncomingTrackPlan, options: IncomingVideoOptions, listener: IncomingVideoListener) {
    this.id = plan.id;
    this.clock = options.clock;
    this.#plan = plan;
    this.#options = options;
    this.#listener = listener;
    this.#jitterUs = options.jitterMs * 1000;
    this.#jitter = new JitterBuffer({ waitUs: this.#jitterUs });
    this.#assembler = new FrameAssembler({
      onAccessUnit: (unit) => {
        if (unit.keyframe) this.#keyframes.satisfied();
        this.#frames.add(1, unit.assembledAtUs);
        listener.onAccessUnit(unit);
      },
      onDrop: (reason, count) => listener.onDrop(reason, count),
      onKeyframeNeeded: () => this.requestKeyframe(),
    });
  }

  get ssrc(): number | undefined {
    return this.#stream?.ssrc;
  }

  /** The track in a new description. */
  update(plan: IncomingTrackPlan): void {
    this.#plan = plan;
  }

  /** Nothing is delivered or sent afterwards. */
  close(): void {
    this.#closed = true;
    this.#jitter.reset();
  }

  onRtp(packet: RtpPacket, { rid }: Encoding, nowUs: MonotonicUs): void {
    const codec = videoCodec(this.#plan, packet.payloadType);
    if (codec !== undefined) this.#onMedia(packet, codec, rid, nowUs);
    else this.#onRetransmission(packet, rid, nowUs);
  }

  onSenderReport({ ntpUs, ntpMiddle, rtpTimestamp }: SenderReport, nowUs: MonotonicUs): void {
    const stream = this.#stream;
    if (stream === undefined) return;
    stream.onSenderReport(ntpMiddle, nowUs);
    const mediaTime = this.clock.peek(stream, rtpTimestamp);
    if (mediaTime !== undefined) this.#listener.onReport(ntpUs, mediaTime);
  }

  tick(nowUs: MonotonicUs): void {
    this.#deliver(nowUs);
    this.#requestMissing(nowUs);
    if (this.#keyframes.poll(nowUs)) this.#sendPictureLoss();
  }

  /** Not before there is a stream to ask: its first picture is a keyframe anyway, and asking would make it two. */
  requestKeyframe(): void {
    if (this.#stream === undefined || !this.#options.transport.secure) return;
    if (this.#keyframes.request(monotonicUs())) this.#sendPictureLoss();
  }

  /** @returns undefined before the first packet */
  report(nowUs: MonotonicUs): ReportBlock | undefined {
    return this.#stream?.report(nowUs);
  }

  framesPerSecond(nowUs: MonotonicUs): number {
    return this.#frames.perSecond(nowUs);
  }

  toJSON(): object {
    const { id, kind, codec, ssrc, packetsLost, nacksSent, keyframeRequestsSent } = this;
    const framesPerSecond = this.framesPerSecond(monotonicUs());
    const waiting = this.#jitter.missing;
    return {
      id,
      kind,
      codec,
      ssrc,
      rid: this.#rid,
      framesPerSecond,
      waiting,
      packetsLost,
      nacksSent,
      keyframeRequestsSent,
    };
  }

  #onMedia(packet: RtpPacket, codec: SourceCodec, rid: string | undefined, nowUs: MonotonicUs): void {
    let stream = this.#stream;
    if (!this.#takes(rid, nowUs)) return;
    if (stream === undefined || stream.ssrc !== packet.ssrc) {
      const better = rid !== undefined && rid !== this.#rid && this.#preference(rid) < this.#preference(this.#rid);
      if (stream !== undefined && !better && nowUs - stream.lastPacketUs < SWITCH_AFTER_US) return;
      if (stream !== undefined) {
        this.#jitter.reset();
        this.#assembler.restart();
      }
      stream = this.#stream = new ReceiveStream(packet.ssrc, VIDEO_CLOCK_HZ);
      this.#paddingPackets = 0;
      this.#listener.onRestart();
    }
    this.#rid = rid;
    const sequence = stream.onPacket(packet.sequenceNumber, packet.timestamp, nowUs);
    this.#onInserted(stream, this.#jitter.insert(sequence, { packet, codec }, nowUs), nowUs);
  }

  /** Of a simulcast one encoding: the most preferred that comes. The rest of its packets is left out here. */
  #takes(rid: string | undefined, nowUs: MonotonicUs): boolean {
    const { rids } = this.#plan;
    if (rids.length < 2 || this.#stream === undefined || rid === this.#rid) return true;
    if (rid === undefined) return false;
    return (
      this.#preference(rid) < this.#preference(this.#rid) || nowUs - this.#stream.lastPacketUs > ENCODING_SILENT_US
    );
  }

  /** Lower is better. */
  #preference(rid: string | undefined): number {
    const at = rid === undefined ? -1 : this.#plan.rids.indexOf(rid);
    return at < 0 ? Infinity : at;
  }

  /** RFC 4588: the payload begins with the original sequence number; empty ones are bandwidth probes. */
  #onRetransmission(packet: RtpPacket, rid: string | undefined, nowUs: MonotonicUs): void {
    const stream = this.#stream;
    const payloadType = this.#plan.rtx.get(packet.payloadType);
    const codec = payloadType === undefined ? undefined : videoCodec(this.#plan, payloadType);
    if (stream === undefined || payloadType === undefined || codec === undefined) return;
    if (packet.payload.length <= 2 || (rid !== undefined && this.#rid !== undefined && rid !== this.#rid)) return;
    const sequenceNumber = packet.payload.readUInt16BE(0);
    const original = { ...packet, payloadType, sequenceNumber, ssrc: stream.ssrc, payload: packet.payload.subarray(2) };
    const sequence = stream.onRepaired(sequenceNumber);
    this.#onInserted(stream, this.#jitter.repair(sequence, { packet: original, codec }, nowUs), nowUs);
  }

  #onInserted(stream: ReceiveStream, result: 'new' | 'duplicate' | 'late' | 'restart', nowUs: MonotonicUs): void {
    if (result === 'duplicate' || result === 'late') {
      stream.onDuplicate();
      return;
    }
    if (result === 'restart') this.#assembler.restart();
    this.#deliver(nowUs);
  }

  #deliver(nowUs: MonotonicUs): void {
    for (const ordered of this.#jitter.drain(nowUs)) {
      if (this.#closed) return;
      this.#deliverOne(ordered, nowUs);
    }
  }

  #deliverOne({ item, sequence, receivedAtUs, lostBefore }: Ordered<VideoPacket>, nowUs: MonotonicUs): void {
    const stream = this.#stream;
    if (stream === undefined) return;
    const { packet, codec } = item;
    this.packetsLost += lostBefore;
    if (packet.payload.length === 0) {
      this.#paddingPackets += 1;
      if (lostBefore > 0) this.requestKeyframe();
      if (lostBefore > 0) this.#assembler.requireKeyframe();
      return;
    }
    this.codec = codec;
    const mediaTime = this.clock.map(stream, packet.timestamp, receivedAtUs, packet.marker);
    this.#listener.onMediaTime(mediaTime, receivedAtUs);
    const { colourSpaceId } = this.#plan;
    const colourSpace = colourSpaceId === undefined ? undefined : findExtension(packet, colourSpaceId);
    this.#listener.onPacket(
      {
        stream: stream.id,
        payload: packet.payload,
        marker: packet.marker,
        sequence: sequence - this.#paddingPackets,
        timestamp: stream.unwrapTimestamp(packet.timestamp),
        mediaTime,
        receivedAtUs,
        colourSpace,
      },
      codec,
    );
    const colour = colourSpace === undefined ? undefined : parseColourSpace(colourSpace);
    this.#assembler.add({ packet, codec, mediaTime, receivedAtUs, lostBefore, colour }, nowUs);
  }

  #requestMissing(nowUs: MonotonicUs): void {
    if (this.#stream === undefined || this.#jitter.missing === 0) return;
    const { transport, localSsrc } = this.#options;
    const roundTripUs = transport.roundTripUs ?? 0;
    // On a long path the configured wait would end before a retransmission can come; giving up costs a keyframe, which
    // takes longer still. Without loss the wait delays nothing.
    this.#jitter.waitUs = Math.max(this.#jitterUs, Math.min(MAX_WAIT_US, 2 * roundTripUs + REQUEST_SLACK_US));
    const missing = this.#jitter.takeRequests(nowUs, roundTripUs);
    for (let at = 0; at < missing.length; at += MAX_NACKS_PER_PACKET) {
      const part = missing.slice(at, at + MAX_NACKS_PER_PACKET).map((sequence) => sequence & 0xffff);
      this.nacksSent += part.length;
      transport.sendRtcp(buildNack(localSsrc, this.#stream.ssrc, part));
    }
  }

  #sendPictureLoss(): void {
    const { transport, localSsrc } = this.#options;
    if (this.#stream === undefined || !transport.secure) return;
    this.keyframeRequestsSent += 1;
    transport.sendRtcp(buildPictureLoss(localSsrc, this.#stream.ssrc));
  }
}

function videoCodec({ codecs }: IncomingTrackPlan, payloadType: number): SourceCodec | undefined {
  const codec = codecs.get(payloadType);
  return codec === 'opus' ? undefined : codec;
}

export class IncomingAudioTrack {
  readonly kind = 'audio';
  readonly id: string;
  /** Puts the track on the video's time line. */
  readonly alignment = new AudioAlignment();
  readonly #onPacket: (packet: ForwardPacket) => void;
  #plan: IncomingTrackPlan;
  #stream: ReceiveStream | undefined;

  constructor(plan: IncomingTrackPlan, onPacket: (packet: ForwardPacket) => void) {
    this.id = plan.id;
    this.#plan = plan;
    this.#onPacket = onPacket;
  }

  get ssrc(): number | undefined {
    return this.#stream?.ssrc;
  }

  /** The track in a new description. */
  update(plan: IncomingTrackPlan): void {
    this.#plan = plan;
  }

  onRtp(packet: RtpPacket, nowUs: MonotonicUs): void {
    if (!this.#plan.codecs.has(packet.payloadType)) return;
    let stream = this.#stream;
    if (stream === undefined || stream.ssrc !== packet.ssrc) {
      if (stream !== undefined && nowUs - stream.lastPacketUs < SWITCH_AFTER_US) return;
      stream = this.#stream = new ReceiveStream(packet.ssrc, AUDIO_CLOCK_HZ);
      this.alignment.restart('audio');
    }
    const sequence = stream.onPacket(packet.sequenceNumber, packet.timestamp, nowUs);
    if (packet.payload.length === 0) return;
    const timestamp = stream.unwrapTimestamp(packet.timestamp);
    this.#onPacket({
      stream: stream.id,
      payload: packet.payload,
      marker: packet.marker,
      sequence,
      timestamp,
      mediaTime: this.alignment.mediaTimeOf(timestamp, nowUs),
      receivedAtUs: nowUs,
    });
  }

  onSenderReport({ ntpUs, ntpMiddle, rtpTimestamp }: SenderReport, nowUs: MonotonicUs): void {
    if (this.#stream === undefined) return;
    this.#stream.onSenderReport(ntpMiddle, nowUs);
    this.alignment.onAudioReport(ntpUs, this.#stream.unwrapTimestamp(rtpTimestamp));
  }

  /** @returns undefined before the first packet */
  report(nowUs: MonotonicUs): ReportBlock | undefined {
    return this.#stream?.report(nowUs);
  }

  toJSON(): object {
    const { id, kind, ssrc } = this;
    return { id, kind, codec: 'opus', ssrc, packetsReceived: this.#stream?.received ?? 0 };
  }
}
