import { randomInt, randomUUID } from 'node:crypto';
import { AppError } from '../errors.ts';
import { monotonicUs } from '../media/clock.ts';
import type { PacketizedFrame } from '../media/packetizer.ts';
import { buildSourceDescription, parseRtcp, type RtcpMessage } from '../media/rtcp.ts';
import { VIDEO_CLOCK_HZ, type MonotonicUs, type ResultCodec, type SourceCodec } from '../media/types.ts';
import { OutgoingTrack } from './outgoing-track.ts';
import type {
  ForwardPacket,
  IceCandidate,
  IceParameters,
  OutgoingListener,
  PeerState,
  RtcOptions,
  TargetPeer,
  TargetVideo,
  ViewerPeer,
  ViewerStats,
} from './peers.ts';
import type { PeerOwner } from './publisher-connection.ts';
import { RateMeter } from './rate-meter.ts';
import { buildAnswer } from './sdp/answer.ts';
import { parseOffer, type Offer } from './sdp/offer.ts';
import { buildOffer, offeredTracks, type OfferedTrack } from './sdp/own-offer.ts';
import { parseAnswer } from './sdp/own-answer.ts';
import { planTarget } from './sdp/target-plan.ts';
import { PAGE_LAYOUT, planViewer, type TrackLayout, type ViewerPlan, type ViewerTrackPlan } from './sdp/viewer-plan.ts';
import {
  SecureTransport,
  type CreateTransport,
  type PeerTransport,
  type TransportListener,
  type TransportTarget,
} from './secure-transport.ts';
import { randomSsrc } from './ssrc.ts';
import { restartIce, type LocalTransportParameters } from './transport-parameters.ts';

const REPORT_INTERVAL_US = 1_000_000;
/** The first reports follow quickly, so that a viewer can align audio and video from the start. */
const FIRST_REPORTS_US = 200_000;
const FIRST_REPORTS = 3;

export interface ViewerConnectionOptions {
  readonly rtc: RtcOptions;
  readonly maxOutput: { readonly width: number; readonly height: number };
  /** What the sections of the offer are for; left out, a page's: result, source, audio. */
  readonly layout?: TrackLayout;
  /** We offer to it, in place of accept(). */
  readonly target?: TransportTarget;
  /** For tests without sockets. */
  readonly createTransport?: CreateTransport;
}

/**
 * A peer that receives from us: a transport, and a track for each section it takes. It offers, and a later offer may add and
 * remove tracks; or it is a target, and answers our offer.
 */
export class ViewerConnection implements ViewerPeer, TargetPeer {
  readonly id = randomUUID();
  readonly #options: ViewerConnectionOptions;
  readonly #listener: OutgoingListener;
  readonly #owner: PeerOwner;
  readonly #transport: PeerTransport;
  /** The transport, where we offer. */
  readonly #target: SecureTransport | undefined;
  readonly #bits = new RateMeter();
  readonly #streamId = randomUUID();
  readonly #rtcpSsrc = randomSsrc();
  readonly #tracks = new Map<string, OutgoingTrack>();
  /**
   * RTP timestamp - media time, random (RFC 3550 section 5.1) but one for all video tracks: equal pictures have equal
   * timestamps, whatever rendition, codec or publisher they come from, and a page can show them side by side.
   */
  readonly #videoOffset = randomInt(0, 0x7fffffff);
  /** What our offer has, until it is answered and afterwards. */
  #offered: readonly OfferedTrack[] | undefined;
  #plan: ViewerPlan | undefined;
  #estimateBps: number | undefined;
  #keyframeRequests = 0;
  #mediaOriginUs: number | undefined;
  #reportAtUs: MonotonicUs = 0;
  #reports = 0;
  #version = 1;

  constructor(options: ViewerConnectionOptions, listener: OutgoingListener, owner: PeerOwner) {
    this.#options = options;
    this.#listener = listener;
    this.#owner = owner;
    const events: TransportListener = {
      onState: (state, cause) => this.#onState(state, cause),
      onRtp: () => undefined, // a viewer has nothing to send
      onRtcp: (packet, arrivedAtUs) => this.#onRtcp(packet, arrivedAtUs),
      onCandidate: (candidate) => this.#call(() => listener.onCandidate?.(candidate)),
    };
    const { rtc, target, createTransport = (listening) => new SecureTransport(rtc, listening) } = options;
    this.#target = target === undefined ? undefined : new SecureTransport(rtc, events, target);
    this.#transport = this.#target ?? createTransport(events);
  }

  get state(): PeerState {
    return this.#transport.state;
  }

  get resultCodec(): ResultCodec {
    return this.#accepted.resultCodec;
  }

  get takesResult(): boolean {
    return this.#tracks.has('result');
  }

  get sourceCodecs(): readonly SourceCodec[] {
    return [...(this.#tracks.get('source')?.plan.payloadTypes.keys() ?? [])].filter((codec) => codec !== 'opus');
  }

  async accept(offerSdp: string): Promise<string> {
    if (this.#plan !== undefined) throw new AppError('request.state', 'This viewer has already been accepted.');
    const { offer, plan } = this.#read(offerSdp);
    this.#apply(plan);
    const local = await this.#transport.accept(plan.transport);
    this.#addCandidates(plan);
    return this.#answer(offer, local);
  }

  async offer(video: TargetVideo): Promise<string> {
    if (this.#target === undefined || this.#offered !== undefined) {
      throw new AppError('request.state', 'This peer is no target, or has got an offer already.');
    }
    const tracks = offeredTracks({ ...video, maxOutput: this.#options.maxOutput });
    this.#offered = tracks;
    const local = await this.#target.offer();
    return buildOffer(tracks, local, {
      sessionId: String(this.#rtcpSsrc),
      streamId: this.#streamId,
      cname: this.id,
    });
  }

  async acceptAnswer(answerSdp: string): Promise<void> {
    if (this.#target === undefined || this.#offered === undefined || this.#plan !== undefined) {
      throw new AppError('request.state', 'This target has no offer that waits for an answer.');
    }
    const plan = planTarget(this.#offered, parseAnswer(answerSdp));
    this.#apply(plan);
    await this.#target.answered(plan.transport);
    this.#addCandidates(plan);
  }

  /** The tracks and codecs of the session must stay. */
  async restart(offerSdp: string): Promise<string> {
    const { offer, plan } = this.#read(offerSdp);
    const shape = ({ tracks, resultCodec }: ViewerPlan) =>
      [...[...tracks.values()].map(({ id, index }) => `${id} ${index}`), resultCodec].join();
    if (shape(plan) !== shape(this.#accepted)) {
      throw new AppError('sdp.unsupported', 'An ICE restart must keep the tracks and codecs of the session.');
    }
    return this.#describe(offer, plan);
  }

  /** Tracks may come and go; those that stay keep their codecs and their place. @throws AppError sdp.unsupported */
  async renegotiate(offerSdp: string): Promise<string> {
    const before = this.#accepted.tracks;
    const { offer, plan } = this.#read(offerSdp);
    for (const track of plan.tracks.values()) {
      const known = before.get(track.id);
      if (known === undefined) continue;
      const codecs = ({ payloadTypes }: typeof track) => [...payloadTypes.keys()].join();
      if (known.kind !== track.kind || known.index !== track.index || codecs(known) !== codecs(track)) {
        throw new AppError('sdp.unsupported', `The track ${track.id} must keep its section and its codecs.`);
      }
    }
    return this.#describe(offer, plan);
  }

  async restartIce(parameters: IceParameters): Promise<IceParameters> {
    const { remote, local } = await restartIce(this.#transport, this.#accepted.transport, parameters);
    // Read again: a description may have been accepted meanwhile.
    this.#plan = { ...this.#accepted, transport: remote };
    return local;
  }

  async addCandidate(candidate: IceCandidate): Promise<void> {
    this.#transport.addCandidate(candidate);
  }

  sendResult(frame: PacketizedFrame): void {
    this.sendFrame('result', frame);
  }

  sendSource(packet: ForwardPacket, codec: SourceCodec): void {
    this.forward('source', packet, codec);
  }

  joinSource(): void {
    this.#tracks.get('source')?.join();
  }

  sendAudio(packet: ForwardPacket): void {
    this.forward('audio', packet, 'opus');
  }

  /** A whole frame on an encoded track; nothing happens while the connection is not up or has no such track. */
  sendFrame(id: string, frame: PacketizedFrame): void {
    const track = this.#tracks.get(id);
    if (track === undefined || this.#transport.state !== 'connected') return;
    const nowUs = monotonicUs();
    this.#originate(frame.frame.mediaTime);
    this.#bits.add(track.sendFrame(frame, nowUs) * 8, nowUs);
    if (track.pending > 0) this.#owner.onPending();
  }

  /** A publisher's packet on a forwarded track. */
  forward(id: string, packet: ForwardPacket, codec: SourceCodec | 'opus'): void {
    const track = this.#tracks.get(id);
    if (track === undefined || this.#transport.state !== 'connected') return;
    const nowUs = monotonicUs();
    const bytes = track.forward(packet, codec, nowUs);
    if (bytes > 0) this.#originate(packet.mediaTime);
    this.#bits.add(bytes * 8, nowUs);
  }

  /** Sends what spread keyframes have due. @returns packets still waiting */
  pump(nowUs: MonotonicUs): number {
    let pending = 0;
    for (const track of this.#tracks.values()) {
      this.#bits.add(track.pump(nowUs) * 8, nowUs);
      pending += track.pending;
    }
    return pending;
  }

  getStats(): ViewerStats {
    const tracks = [...this.#tracks.values()];
    const result = this.#tracks.get('result')?.stream;
    return {
      bitrateBps: this.#bits.perSecond(monotonicUs()),
      packetsSent: this.#transport.counters.packetsSent,
      fractionLost: result?.fractionLost ?? 0,
      resentShare: result?.resentShare ?? 0,
      deliveredBps: result?.deliveredBps,
      reportedAtUs: result?.reportedAtUs,
      roundTripMs: tracks.find(({ stream }) => stream.roundTripMs !== undefined)?.stream.roundTripMs,
      estimateBps: this.#estimateBps,
      nacksReceived: tracks.reduce((sum, { stream }) => sum + stream.nacksReceived, 0),
      keyframeRequestsReceived: this.#keyframeRequests,
    };
  }

  close(): Promise<void> {
    return this.#transport.close();
  }

  toJSON(): object {
    return {
      id: this.id,
      state: this.state,
      tracks: [...this.#tracks.values()],
      stats: this.getStats(),
      transport: this.#transport,
    };
  }

  tick(nowUs: MonotonicUs): void {
    this.#transport.tick(nowUs);
    if (!this.#transport.secure || this.#mediaOriginUs === undefined) return;
    const interval = this.#reports < FIRST_REPORTS ? FIRST_REPORTS_US : REPORT_INTERVAL_US;
    if (nowUs - this.#reportAtUs < interval) return;
    this.#reportAtUs = nowUs;
    for (const track of this.#tracks.values()) {
      const report = track.report(this.#mediaOriginUs, nowUs);
      if (report !== undefined) this.#transport.sendRtcp(report, buildSourceDescription(track.ssrc, this.id));
    }
    this.#reports += 1;
  }

  get #accepted(): ViewerPlan {
    if (this.#plan === undefined) throw new AppError('request.state', 'This viewer has not been accepted yet.');
    return this.#plan;
  }

  #read(offerSdp: string): { readonly offer: Offer; readonly plan: ViewerPlan } {
    const offer = parseOffer(offerSdp);
    return { offer, plan: planViewer(offer, this.#options.maxOutput, this.#options.layout ?? PAGE_LAYOUT) };
  }

  /** A later description of the session. A transport that refuses it leaves the tracks as they are. */
  async #describe(offer: Offer, plan: ViewerPlan): Promise<string> {
    const local = await this.#transport.update(plan.transport);
    this.#apply(plan);
    this.#version += 1;
    this.#addCandidates(plan);
    return this.#answer(offer, local);
  }

  #apply(plan: ViewerPlan): void {
    this.#plan = plan;
    for (const [id, track] of this.#tracks) {
      if (plan.tracks.has(id)) continue;
      track.close();
      this.#tracks.delete(id);
    }
    for (const track of plan.tracks.values()) {
      const known = this.#tracks.get(track.id);
      if (known !== undefined) known.update(track);
      else this.#tracks.set(track.id, this.#createTrack(track));
    }
  }

  #createTrack(plan: ViewerTrackPlan): OutgoingTrack {
    const offered = this.#offered?.find(({ id }) => id === plan.id);
    return new OutgoingTrack(plan, this.#transport, this.#videoOffset, offered?.ssrcs);
  }

  /** One MediaStream for all tracks: browsers align only what shares one. */
  #answer(offer: Offer, local: LocalTransportParameters): string {
    const media = new Map(
      [...this.#tracks.values()].map((track) => [track.plan.index, track.describe(this.#streamId, this.id)]),
    );
    return buildAnswer(offer, media, local, { id: String(this.#rtcpSsrc), version: this.#version });
  }

  #addCandidates({ candidates }: ViewerPlan): void {
    for (const candidate of candidates) this.#transport.addCandidate({ candidate });
  }

  /** The sender reports' clock: close to the wall clock at the first packet, then bound to media time alone. */
  #originate(mediaTime: number): void {
    this.#mediaOriginUs ??= Date.now() * 1000 - (mediaTime * 1e6) / VIDEO_CLOCK_HZ;
  }

  #onState(state: PeerState, cause?: AppError): void {
    if (cause !== undefined) this.#owner.onListenerError(cause);
    this.#call(() => this.#listener.onState(state, cause));
    if (state !== 'closed') return;
    for (const track of this.#tracks.values()) track.close();
    this.#owner.onClosed(this);
  }

  #onRtcp(data: Buffer, nowUs: MonotonicUs): void {
    for (const message of parseRtcp(data)) this.#onMessage(message, nowUs);
  }

  #onMessage(message: RtcpMessage, nowUs: MonotonicUs): void {
    switch (message.kind) {
      case 'senderReport':
      case 'receiverReport':
        for (const block of message.reports) this.#find(block.ssrc)?.onReceiverReport(block, nowUs);
        break;
      case 'nack': {
        const bytes = this.#find(message.mediaSsrc)?.resend(message.sequenceNumbers, nowUs) ?? 0;
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

  #onKeyframeRequest(track: OutgoingTrack | undefined): void {
    if (track?.kind !== 'video') return;
    this.#keyframeRequests += 1;
    track.keyframeRequestsReceived += 1;
    this.#call(() => this.#listener.onKeyframeRequest(track.id));
  }

  #find(ssrc: number): OutgoingTrack | undefined {
    for (const track of this.#tracks.values()) if (track.ssrc === ssrc) return track;
    return undefined;
  }

  #call(listener: () => void): void {
    try {
      listener();
    } catch (error) {
      this.#owner.onListenerError(error);
    }
  }
}
