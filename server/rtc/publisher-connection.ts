import { randomUUID } from 'node:crypto';
import { AppError } from '../errors.ts';
import { FrameAssembler } from '../media/assembler.ts';
import { AudioAlignment } from '../media/audio-alignment.ts';
import { monotonicUs } from '../media/clock.ts';
import { parseColourSpace } from '../media/colour-space.ts';
import { JitterBuffer, type Ordered } from '../media/jitter-buffer.ts';
import { KeyframeRequests } from '../media/keyframe-requests.ts';
import { buildNack, buildPictureLoss, buildReceiverReport, buildSourceDescription, parseRtcp } from '../media/rtcp.ts';
import { RtpClock } from '../media/rtp-clock.ts';
import { findExtension, parseRtp, type RtpPacket } from '../media/rtp.ts';
import { TransportFeedbackBuilder } from '../media/transport-cc.ts';
import { AUDIO_CLOCK_HZ, VIDEO_CLOCK_HZ, type MonotonicUs, type SourceCodec } from '../media/types.ts';
import { buildAnswer } from './sdp/answer.ts';
import { parseOffer } from './sdp/offer.ts';
import { planPublisher, type PublisherPlan } from './sdp/publisher-plan.ts';
import type { IceCandidate, PeerState, PublisherListener, PublisherPeer, PublisherStats, RtcOptions } from './peers.ts';
import { RateMeter } from './rate-meter.ts';
import { ReceiveStream } from './receive-stream.ts';
import { SecureTransport } from './secure-transport.ts';
import { randomSsrc } from './ssrc.ts';

const FEEDBACK_INTERVAL_US = 50_000;
const REPORT_INTERVAL_US = 1_000_000;
/** Another SSRC takes over only when the current one has been silent this long: one source, no flip-flop. */
const SWITCH_AFTER_US = 300_000;
/** Two requests fit: two round trips, timers on both sides and the sender's pacing. Bounded, for latency's sake. */
const REQUEST_SLACK_US = 60_000;
const MAX_WAIT_US = 300_000;
/** Keeps one NACK packet well under the MTU even if no two numbers share a mask. */
const MAX_NACKS_PER_PACKET = 120;

interface VideoPacket {
  readonly packet: RtpPacket;
  readonly codec: SourceCodec;
}

/** What the peer tells the stack besides the listener. */
export interface PeerOwner {
  onClosed(peer: { readonly id: string }): void;
  onListenerError(error: unknown): void;
  /** A viewer has packets to send within the next milliseconds. */
  onPending(): void;
}

export class PublisherConnection implements PublisherPeer {
  readonly id = randomUUID();
  readonly #options: RtcOptions;
  readonly #listener: PublisherListener;
  readonly #owner: PeerOwner;
  readonly #transport: SecureTransport;
  readonly #localSsrc = randomSsrc();
  readonly #clock: RtpClock;
  readonly #alignment = new AudioAlignment();
  readonly #feedback = new TransportFeedbackBuilder();
  readonly #keyframes = new KeyframeRequests(500);
  readonly #assembler: FrameAssembler;
  readonly #jitter: JitterBuffer<VideoPacket>;
  readonly #jitterUs: number;
  readonly #bits = new RateMeter();
  readonly #frames = new RateMeter();
  #plan: PublisherPlan | undefined;
  #video: ReceiveStream | undefined;
  #audio: ReceiveStream | undefined;
  #codec: SourceCodec | undefined;
  /** Empty packets taken out of the forwarded sequence so far. */
  #paddingPackets = 0;
  #lost = 0;
  #nacks = 0;
  #pictureLosses = 0;
  #feedbackAtUs: MonotonicUs = 0;
  #reportAtUs: MonotonicUs = 0;
  #version = 1;

  constructor(options: RtcOptions, listener: PublisherListener, clock: RtpClock | undefined, owner: PeerOwner) {
    this.#options = options;
    this.#listener = listener;
    this.#owner = owner;
    this.#clock = clock ?? new RtpClock();
    this.#jitterUs = options.jitterMs * 1000;
    this.#jitter = new JitterBuffer({ waitUs: this.#jitterUs });
    this.#assembler = new FrameAssembler({
      onAccessUnit: (unit) => {
        if (unit.keyframe) this.#keyframes.satisfied();
        this.#frames.add(1, unit.assembledAtUs);
        this.#call(() => listener.onAccessUnit(unit));
      },
      onDrop: (reason, count) => this.#call(() => listener.onDrop(reason, count)),
      onKeyframeNeeded: () => this.#requestKeyframe(),
    });
    this.#transport = new SecureTransport(options, {
      onState: (state, cause) => this.#onState(state, cause),
      onRtp: (packet, arrivedAtUs) => this.#onRtp(packet, arrivedAtUs),
      onRtcp: (packet, arrivedAtUs) => this.#onRtcp(packet, arrivedAtUs),
      onCandidate: (candidate) => this.#call(() => listener.onCandidate?.(candidate)),
    });
  }

  get state(): PeerState {
    return this.#transport.state;
  }

  async accept(offerSdp: string): Promise<string> {
    if (this.#plan !== undefined) throw new AppError('request.state', 'This publisher has already been accepted.');
    const { plan, answer } = this.#read(offerSdp);
    this.#plan = plan;
    const local = await this.#transport.accept(plan.transport);
    this.#addCandidates(plan.candidates);
    return answer(local);
  }

  async restart(offerSdp: string): Promise<string> {
    if (this.#plan === undefined) throw new AppError('request.state', 'This publisher has not been accepted yet.');
    const { plan, answer } = this.#read(offerSdp);
    this.#plan = plan;
    this.#version += 1;
    const local = await this.#transport.restart(plan.transport);
    this.#addCandidates(plan.candidates);
    return answer(local);
  }

  async addCandidate(candidate: IceCandidate): Promise<void> {
    this.#transport.addCandidate(candidate);
  }

  requestKeyframe(_reason: string): void {
    this.#requestKeyframe();
  }

  getStats(): PublisherStats {
    const nowUs = monotonicUs();
    return {
      codec: this.#codec,
      bitrateBps: this.#bits.perSecond(nowUs),
      framesPerSecond: this.#frames.perSecond(nowUs),
      packetsReceived: this.#transport.counters.packetsReceived,
      packetsLost: this.#lost,
      timestampsReplaced: this.#clock.restamped,
      nacksSent: this.#nacks,
      keyframeRequestsSent: this.#pictureLosses,
      hasAudio: this.#audio !== undefined,
    };
  }

  close(): Promise<void> {
    return this.#transport.close();
  }

  /** Every 10 ms or so, from the stack's one timer. */
  tick(nowUs: MonotonicUs): void {
    this.#transport.tick(nowUs);
    if (!this.#transport.secure) return;
    this.#deliver(nowUs);
    this.#requestMissing(nowUs);
    if (this.#keyframes.poll(nowUs)) this.#sendPictureLoss();
    if (nowUs - this.#feedbackAtUs >= FEEDBACK_INTERVAL_US && this.#feedback.pending > 0) {
      this.#feedbackAtUs = nowUs;
      const mediaSsrc = this.#video?.ssrc ?? this.#audio?.ssrc ?? 0;
      for (const packet of this.#feedback.build(this.#localSsrc, mediaSsrc)) this.#transport.sendRtcp(packet);
    }
    if (nowUs - this.#reportAtUs >= REPORT_INTERVAL_US) {
      this.#reportAtUs = nowUs;
      const streams = [this.#video, this.#audio].filter((stream) => stream !== undefined);
      if (streams.length > 0) {
        const reports = streams.map((stream) => stream.report(nowUs));
        this.#transport.sendRtcp(
          buildReceiverReport(this.#localSsrc, reports),
          buildSourceDescription(this.#localSsrc, this.id),
        );
      }
    }
  }

  #read(offerSdp: string) {
    const offer = parseOffer(offerSdp);
    const plan = planPublisher(offer, {
      startBitrateBps: this.#options.ingestStartBitrateBps,
      maxBitrateBps: this.#options.maxIngestBitrateBps,
    });
    const session = { id: String(this.#localSsrc), version: this.#version };
    return {
      plan,
      answer: (local: Parameters<typeof buildAnswer>[2]) => buildAnswer(offer, plan.answer, local, session),
    };
  }

  #addCandidates(candidates: readonly string[]): void {
    for (const candidate of candidates) this.#transport.addCandidate({ candidate });
  }

  #onState(state: PeerState, cause?: AppError): void {
    if (cause !== undefined) this.#owner.onListenerError(cause);
    this.#call(() => this.#listener.onState(state, cause));
    if (state === 'closed') this.#owner.onClosed(this);
  }

  #onRtp(data: Buffer, nowUs: MonotonicUs): void {
    const plan = this.#plan;
    const packet = parseRtp(data);
    if (plan === undefined || packet === undefined) return;
    this.#bits.add(data.length * 8, nowUs);
    if (plan.transportSequenceId !== undefined) {
      const value = findExtension(packet, plan.transportSequenceId);
      if (value !== undefined && value.length >= 2) this.#feedback.onPacket(value.readUInt16BE(0), nowUs);
    }
    const codec = plan.videoCodecs.get(packet.payloadType);
    if (codec !== undefined) this.#onVideo(packet, codec, nowUs);
    else if (packet.payloadType === plan.audioPayloadType) this.#onAudio(packet, nowUs);
    else {
      const repaired = plan.rtx.get(packet.payloadType);
      if (repaired !== undefined) this.#onRetransmission(packet, repaired, nowUs);
    }
  }

  #onVideo(packet: RtpPacket, codec: SourceCodec, nowUs: MonotonicUs): void {
    let stream = this.#video;
    if (stream === undefined || stream.ssrc !== packet.ssrc) {
      if (stream !== undefined && nowUs - stream.lastPacketUs < SWITCH_AFTER_US) return;
      if (stream !== undefined) {
        this.#jitter.reset();
        this.#assembler.restart();
      }
      stream = this.#video = new ReceiveStream(packet.ssrc, VIDEO_CLOCK_HZ);
      this.#paddingPackets = 0;
      this.#alignment.restart('video');
    }
    const sequence = stream.onPacket(packet.sequenceNumber, packet.timestamp, nowUs);
    this.#onInserted(stream, this.#jitter.insert(sequence, { packet, codec }, nowUs), nowUs);
  }

  /** RFC 4588: the payload begins with the original sequence number; empty ones are bandwidth probes. */
  #onRetransmission(packet: RtpPacket, payloadType: number, nowUs: MonotonicUs): void {
    const stream = this.#video;
    const codec = this.#plan?.videoCodecs.get(payloadType);
    if (stream === undefined || codec === undefined || packet.payload.length <= 2) return;
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
    for (const ordered of this.#jitter.drain(nowUs)) this.#deliverOne(ordered, nowUs);
  }

  #deliverOne({ item, sequence, receivedAtUs, lostBefore }: Ordered<VideoPacket>, nowUs: MonotonicUs): void {
    const stream = this.#video;
    if (stream === undefined) return;
    const { packet, codec } = item;
    this.#lost += lostBefore;
    if (packet.payload.length === 0) {
      this.#paddingPackets += 1;
      if (lostBefore > 0) this.#requestKeyframe();
      if (lostBefore > 0) this.#assembler.requireKeyframe();
      return;
    }
    this.#codec = codec;
    const mediaTime = this.#clock.map(stream, packet.timestamp, receivedAtUs, packet.marker);
    this.#alignment.onVideo(mediaTime, receivedAtUs);
    const colourSpaceId = this.#plan?.colourSpaceId;
    const colourSpace = colourSpaceId === undefined ? undefined : findExtension(packet, colourSpaceId);
    this.#call(() =>
      this.#listener.onVideoPacket(
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
      ),
    );
    const colour = colourSpace === undefined ? undefined : parseColourSpace(colourSpace);
    this.#assembler.add({ packet, codec, mediaTime, receivedAtUs, lostBefore, colour }, nowUs);
  }

  #onAudio(packet: RtpPacket, nowUs: MonotonicUs): void {
    let stream = this.#audio;
    if (stream === undefined || stream.ssrc !== packet.ssrc) {
      if (stream !== undefined && nowUs - stream.lastPacketUs < SWITCH_AFTER_US) return;
      stream = this.#audio = new ReceiveStream(packet.ssrc, AUDIO_CLOCK_HZ);
      this.#alignment.restart('audio');
    }
    const sequence = stream.onPacket(packet.sequenceNumber, packet.timestamp, nowUs);
    if (packet.payload.length === 0) return;
    const timestamp = stream.unwrapTimestamp(packet.timestamp);
    const forward = {
      stream: stream.id,
      payload: packet.payload,
      marker: packet.marker,
      sequence,
      timestamp,
      mediaTime: this.#alignment.mediaTimeOf(timestamp, nowUs),
      receivedAtUs: nowUs,
    };
    this.#call(() => this.#listener.onAudioPacket(forward));
  }

  #onRtcp(data: Buffer, nowUs: MonotonicUs): void {
    for (const message of parseRtcp(data)) {
      if (message.kind !== 'senderReport') continue;
      const { ssrc, ntpUs, ntpMiddle, rtpTimestamp } = message;
      if (ssrc === this.#video?.ssrc) {
        this.#video.onSenderReport(ntpMiddle, nowUs);
        const mediaTime = this.#clock.peek(this.#video, rtpTimestamp);
        if (mediaTime !== undefined) this.#alignment.onVideoReport(ntpUs, mediaTime);
      } else if (ssrc === this.#audio?.ssrc) {
        this.#audio.onSenderReport(ntpMiddle, nowUs);
        this.#alignment.onAudioReport(ntpUs, this.#audio.unwrapTimestamp(rtpTimestamp));
      }
    }
  }

  #requestMissing(nowUs: MonotonicUs): void {
    if (this.#video === undefined || this.#jitter.missing === 0) return;
    const roundTripUs = this.#transport.roundTripUs ?? 0;
    // On a long path the configured wait would end before a retransmission can come; giving up costs a keyframe, which
    // takes longer still. Without loss the wait delays nothing.
    this.#jitter.waitUs = Math.max(this.#jitterUs, Math.min(MAX_WAIT_US, 2 * roundTripUs + REQUEST_SLACK_US));
    const missing = this.#jitter.takeRequests(nowUs, roundTripUs);
    for (let at = 0; at < missing.length; at += MAX_NACKS_PER_PACKET) {
      const part = missing.slice(at, at + MAX_NACKS_PER_PACKET).map((sequence) => sequence & 0xffff);
      this.#nacks += part.length;
      this.#transport.sendRtcp(buildNack(this.#localSsrc, this.#video.ssrc, part));
    }
  }

  /** Not before there is a stream to ask: its first picture is a keyframe anyway, and asking would make it two. */
  #requestKeyframe(): void {
    if (this.#video === undefined || !this.#transport.secure) return;
    if (this.#keyframes.request(monotonicUs())) this.#sendPictureLoss();
  }

  #sendPictureLoss(): void {
    if (this.#video === undefined || !this.#transport.secure) return;
    this.#pictureLosses += 1;
    this.#transport.sendRtcp(buildPictureLoss(this.#localSsrc, this.#video.ssrc));
  }

  /** A listener's bug must not stop the packet loop of this peer or of others. */
  #call(listener: () => void): void {
    try {
      listener();
    } catch (error) {
      this.#owner.onListenerError(error);
    }
  }
}
