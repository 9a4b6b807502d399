import { randomInt, randomUUID } from 'node:crypto';
import { AppError } from '../errors.ts';
import { BurstSpreader } from '../media/burst-spreader.ts';
import { monotonicUs } from '../media/clock.ts';
import type { PacketizedFrame } from '../media/packetizer.ts';
import { buildSourceDescription, parseRtcp, type RtcpMessage } from '../media/rtcp.ts';
import {
  AUDIO_CLOCK_HZ,
  VIDEO_CLOCK_HZ,
  type MonotonicUs,
  type ResultCodec,
  type SourceCodec,
} from '../media/types.ts';
import { buildAnswer, type AnswerMedia } from './sdp/answer.ts';
import { parseOffer } from './sdp/offer.ts';
import { planViewer, type ViewerPlan, type ViewerTrackPlan } from './sdp/viewer-plan.ts';
import type {
  ForwardPacket,
  IceCandidate,
  PeerState,
  RtcOptions,
  ViewerListener,
  ViewerPeer,
  ViewerStats,
  ViewerTrack,
} from './peers.ts';
import type { PeerOwner } from './publisher-connection.ts';
import { RateMeter } from './rate-meter.ts';
import { SendStream, type OutgoingPacket } from './send-stream.ts';
import { SecureTransport } from './secure-transport.ts';
import { randomSsrc } from './ssrc.ts';

const REPORT_INTERVAL_US = 1_000_000;
/** The first reports follow quickly, so that a viewer can align audio and video from the start. */
const FIRST_REPORTS_US = 200_000;
const FIRST_REPORTS = 3;

interface Track {
  readonly plan: ViewerTrackPlan;
  readonly stream: SendStream;
  /** Of the forwarded stream: its sequence + offset is ours. */
  forwarded: number | undefined;
  sequenceOffset: number;
  /** Audio: our timestamp = the stream's + offset. */
  audioOffset: number;
  lastAudio: { timestamp: number; mediaTime: number } | undefined;
}

export class ViewerConnection implements ViewerPeer {
  readonly id = randomUUID();
  readonly #listener: ViewerListener;
  readonly #maxOutput: { readonly width: number; readonly height: number };
  readonly #owner: PeerOwner;
  readonly #transport: SecureTransport;
  readonly #bits = new RateMeter();
  readonly #spreader = new BurstSpreader<OutgoingPacket>({ burstPackets: 30, spreadUs: 15_000 });
  readonly #streamId = randomUUID();
  readonly #rtcpSsrc = randomSsrc();
  /**
   * RTP timestamp - media time, random (RFC 3550 section 5.1) but one for result and source: equal pictures have equal
   * timestamps on both, whatever rendition, codec or publisher they come from, and a page can show them side by side.
   */
  readonly #videoOffset = randomInt(0, 0x7fffffff);
  #plan: ViewerPlan | undefined;
  #result: Track | undefined;
  #source: Track | undefined;
  #audio: Track | undefined;
  #estimateBps: number | undefined;
  #keyframeRequests = 0;
  #mediaOriginUs: number | undefined;
  #reportAtUs: MonotonicUs = 0;
  #reports = 0;
  #version = 1;

  constructor(
    options: RtcOptions,
    listener: ViewerListener,
    maxOutput: { readonly width: number; readonly height: number },
    owner: PeerOwner,
  ) {
    this.#listener = listener;
    this.#maxOutput = maxOutput;
    this.#owner = owner;
    this.#transport = new SecureTransport(options, {
      onState: (state, cause) => this.#onState(state, cause),
      onRtp: () => undefined, // a viewer has nothing to send
      onRtcp: (packet, arrivedAtUs) => this.#onRtcp(packet, arrivedAtUs),
      onCandidate: (candidate) => this.#call(() => listener.onCandidate?.(candidate)),
    });
  }

  get state(): PeerState {
    return this.#transport.state;
  }

  get resultCodec(): ResultCodec {
    if (this.#plan === undefined) throw new AppError('request.state', 'This viewer has not been accepted yet.');
    return this.#plan.resultCodec;
  }

  get sourceCodecs(): readonly SourceCodec[] {
    return [...(this.#source?.plan.payloadTypes.keys() ?? [])].filter((codec) => codec !== 'opus');
  }

  async accept(offerSdp: string): Promise<string> {
    if (this.#plan !== undefined) throw new AppError('request.state', 'This viewer has already been accepted.');
    const offer = parseOffer(offerSdp);
    const plan = planViewer(offer, this.#maxOutput);
    this.#plan = plan;
    this.#result = this.#createTrack(plan.result, VIDEO_CLOCK_HZ);
    this.#source = plan.source === undefined ? undefined : this.#createTrack(plan.source, VIDEO_CLOCK_HZ);
    this.#audio = plan.audio === undefined ? undefined : this.#createTrack(plan.audio, AUDIO_CLOCK_HZ);
    const local = await this.#transport.accept(plan.transport);
    this.#addCandidates(plan.candidates);
    return buildAnswer(offer, this.#answerMedia(), local, this.#session);
  }

  async restart(offerSdp: string): Promise<string> {
    const offer = parseOffer(offerSdp);
    const plan = planViewer(offer, this.#maxOutput);
    if (this.#plan === undefined) throw new AppError('request.state', 'This viewer has not been accepted yet.');
    const shape = (of: ViewerPlan) => [of.result.index, of.source?.index, of.audio?.index, of.resultCodec].join();
    if (shape(plan) !== shape(this.#plan)) {
      throw new AppError('sdp.unsupported', 'An ICE restart must keep the tracks and codecs of the session.');
    }
    this.#version += 1;
    const local = await this.#transport.restart(plan.transport);
    this.#addCandidates(plan.candidates);
    return buildAnswer(offer, this.#answerMedia(), local, this.#session);
  }

  async addCandidate(candidate: IceCandidate): Promise<void> {
    this.#transport.addCandidate(candidate);
  }

  sendResult({ frame, payloads }: PacketizedFrame): void {
    const track = this.#result;
    const codec = track?.plan.payloadTypes.get(frame.codec);
    if (track === undefined || codec === undefined || this.#transport.state !== 'connected') return;
    const { mediaTime } = frame;
    const nowUs = monotonicUs();
    this.#originate(mediaTime);
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
    this.#sendInOrder(track.stream, this.#spreader.push(packets, nowUs), nowUs);
    if (this.#spreader.pending > 0) this.#owner.onPending();
  }

  /** Sends what a spread keyframe has due. @returns packets still waiting */
  pump(nowUs: MonotonicUs): number {
    if (this.#spreader.pending > 0 && this.#result !== undefined) {
      this.#sendInOrder(this.#result.stream, this.#spreader.take(nowUs), nowUs);
    }
    return this.#spreader.pending;
  }

  #sendInOrder(stream: SendStream, packets: readonly OutgoingPacket[], nowUs: MonotonicUs): void {
    let bytes = 0;
    for (const packet of packets) bytes += stream.send(packet, stream.next, nowUs);
    this.#bits.add(bytes * 8, nowUs);
  }

  sendSource(packet: ForwardPacket, codec: SourceCodec): void {
    const track = this.#source;
    const payload = track?.plan.payloadTypes.get(codec);
    if (track === undefined || payload === undefined || this.#transport.state !== 'connected') return;
    this.#forward(track, packet, payload, packet.mediaTime + this.#videoOffset);
  }

  sendAudio(packet: ForwardPacket): void {
    const track = this.#audio;
    const payload = track?.plan.payloadTypes.get('opus');
    if (track === undefined || payload === undefined || this.#transport.state !== 'connected') return;
    if (track.forwarded !== packet.stream) {
      const last = track.lastAudio;
      const elapsed = last === undefined ? 0 : ((packet.mediaTime - last.mediaTime) * AUDIO_CLOCK_HZ) / VIDEO_CLOCK_HZ;
      const begin = last === undefined ? randomInt(0, 0x7fffffff) : last.timestamp + Math.max(960, Math.round(elapsed));
      track.audioOffset = begin - packet.timestamp;
    }
    const timestamp = packet.timestamp + track.audioOffset;
    track.lastAudio = { timestamp, mediaTime: packet.mediaTime };
    this.#forward(track, packet, payload, timestamp);
  }

  getStats(): ViewerStats {
    const tracks = this.#tracks;
    return {
      bitrateBps: this.#bits.perSecond(monotonicUs()),
      packetsSent: this.#transport.counters.packetsSent,
      fractionLost: this.#result?.stream.fractionLost ?? 0,
      deliveredBps: this.#result?.stream.deliveredBps,
      reportedAtUs: this.#result?.stream.reportedAtUs,
      roundTripMs: tracks.find((track) => track.stream.roundTripMs !== undefined)?.stream.roundTripMs,
      estimateBps: this.#estimateBps,
      nacksReceived: tracks.reduce((sum, track) => sum + track.stream.nacksReceived, 0),
      keyframeRequestsReceived: this.#keyframeRequests,
    };
  }

  close(): Promise<void> {
    return this.#transport.close();
  }

  tick(nowUs: MonotonicUs): void {
    this.#transport.tick(nowUs);
    if (!this.#transport.secure) return;
    const interval = this.#reports < FIRST_REPORTS ? FIRST_REPORTS_US : REPORT_INTERVAL_US;
    if (nowUs - this.#reportAtUs < interval) return;
    this.#reportAtUs = nowUs;
    for (const track of this.#tracks) {
      const report = this.#mediaOriginUs === undefined ? undefined : track.stream.report(this.#mediaOriginUs, nowUs);
      if (report === undefined) continue;
      this.#transport.sendRtcp(report, buildSourceDescription(track.stream.ssrc, this.id));
    }
    if (this.#mediaOriginUs !== undefined) this.#reports += 1;
  }

  get #tracks(): readonly Track[] {
    return [this.#result, this.#source, this.#audio].filter((track) => track !== undefined);
  }

  get #session() {
    return { id: String(this.#rtcpSsrc), version: this.#version };
  }

  #createTrack(plan: ViewerTrackPlan, clockHz: number): Track {
    return {
      plan,
      stream: new SendStream(this.#transport, clockHz, plan),
      forwarded: undefined,
      sequenceOffset: 0,
      audioOffset: 0,
      lastAudio: undefined,
    };
  }

  /** One MediaStream for all tracks: browsers align only what shares one. */
  #answerMedia(): ReadonlyMap<number, AnswerMedia> {
    const named: [ViewerTrack, Track | undefined][] = [
      ['result', this.#result],
      ['source', this.#source],
      ['audio', this.#audio],
    ];
    return new Map(
      named.flatMap(([name, track]): [number, AnswerMedia][] => {
        if (track === undefined) return [];
        const { plan, stream } = track;
        const hasRtx = plan.codecs.some((codec) => codec.name === 'rtx');
        const send = {
          streamId: this.#streamId,
          trackId: name,
          cname: this.id,
          ssrc: stream.ssrc,
          rtxSsrc: hasRtx ? stream.rtxSsrc : undefined,
        };
        return [[plan.index, { direction: 'sendonly', codecs: plan.codecs, extensions: plan.extensions, send }]];
      }),
    );
  }

  /** Sequence numbers keep the publisher's gaps (the viewer conceals or asks), not those between two publishers. */
  #forward(
    track: Track,
    packet: ForwardPacket,
    payload: { readonly payloadType: number; readonly rtx: number | undefined },
    timestamp: number,
  ): void {
    if (track.forwarded !== packet.stream) {
      track.forwarded = packet.stream;
      track.sequenceOffset = track.stream.next - packet.sequence;
    }
    const index = packet.sequence + track.sequenceOffset;
    if (index < 0) return; // reordered in front of the very first
    const nowUs = monotonicUs();
    const bytes = track.stream.send(
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
    this.#originate(packet.mediaTime);
    this.#bits.add(bytes * 8, nowUs);
  }

  /** The sender reports' clock: close to the wall clock at the first packet, then bound to media time alone. */
  #originate(mediaTime: number): void {
    this.#mediaOriginUs ??= Date.now() * 1000 - (mediaTime * 1e6) / VIDEO_CLOCK_HZ;
  }

  #addCandidates(candidates: readonly string[]): void {
    for (const candidate of candidates) this.#transport.addCandidate({ candidate });
  }

  #onState(state: PeerState, cause?: AppError): void {
    if (cause !== undefined) this.#owner.onListenerError(cause);
    this.#call(() => this.#listener.onState(state, cause));
    if (state === 'closed') {
      for (const track of this.#tracks) track.stream.clear();
      this.#spreader.clear();
      this.#owner.onClosed(this);
    }
  }

  #onRtcp(data: Buffer, nowUs: MonotonicUs): void {
    for (const message of parseRtcp(data)) this.#onMessage(message, nowUs);
  }

  #onMessage(message: RtcpMessage, nowUs: MonotonicUs): void {
    switch (message.kind) {
      case 'senderReport':
      case 'receiverReport':
        for (const block of message.reports) this.#find(block.ssrc)?.stream.onReceiverReport(block, nowUs);
        break;
      case 'nack': {
        const bytes = this.#find(message.mediaSsrc)?.stream.resend(message.sequenceNumbers, nowUs) ?? 0;
        this.#bits.add(bytes * 8, nowUs);
        break;
      }
      case 'pictureLoss':
        this.#onKeyframeRequest(this.#find(message.mediaSsrc));
        break;
      case 'fullIntraRequest':
        for (const ssrc of message.mediaSsrcs) this.#onKeyframeRequest(this.#find(ssrc));
        break;
      case 'remb':
        this.#estimateBps = message.bitrateBps;
        break;
    }
  }

  #onKeyframeRequest(track: Track | undefined): void {
    if (track === undefined || track === this.#audio) return;
    this.#keyframeRequests += 1;
    this.#call(() => this.#listener.onKeyframeRequest(track === this.#result ? 'result' : 'source'));
  }

  #find(ssrc: number): Track | undefined {
    return this.#tracks.find((track) => track.stream.ssrc === ssrc);
  }

  #call(listener: () => void): void {
    try {
      listener();
    } catch (error) {
      this.#owner.onListenerError(error);
    }
  }
}
