import { randomUUID } from 'node:crypto';
import { AppError } from '../errors.ts';
import { monotonicUs } from '../media/clock.ts';
import { buildReceiverReport, buildSourceDescription, parseRtcp } from '../media/rtcp.ts';
import { RtpClock } from '../media/rtp-clock.ts';
import { findExtension, parseRtp } from '../media/rtp.ts';
import { TransportFeedbackBuilder } from '../media/transport-cc.ts';
import { UnitDigests, type SessionRecorder } from '../media/session-recording.ts';
import type { AccessUnit, MonotonicUs } from '../media/types.ts';
import { IncomingAudioTrack, IncomingVideoTrack } from './incoming-track.ts';
import type {
  IceCandidate,
  IceParameters,
  IncomingListener,
  PeerState,
  PublisherPeer,
  PublisherStats,
  PulledPeer,
  RtcOptions,
} from './peers.ts';
import { RateMeter } from './rate-meter.ts';
import { RtpDemux } from './rtp-demux.ts';
import { buildAnswer } from './sdp/answer.ts';
import { parseOffer } from './sdp/offer.ts';
import { parseAnswer } from './sdp/own-answer.ts';
import { describeOffer } from './sdp/own-offer.ts';
import { planPublisher, type IncomingTrackPlan } from './sdp/publisher-plan.ts';
import { planReceiving, wantedTracks, type ReceivingPlan, type WantedTrack } from './sdp/receiving-offer.ts';
import {
  SecureTransport,
  type CreateTransport,
  type PeerTransport,
  type TransportListener,
  type TransportTarget,
} from './secure-transport.ts';
import { randomSsrc } from './ssrc.ts';
import { restartIce, type LocalTransportParameters } from './transport-parameters.ts';

const FEEDBACK_INTERVAL_US = 50_000;
const REPORT_INTERVAL_US = 1_000_000;

/** What a peer reports to the stack besides its listener. */
export interface PeerOwner {
  onClosed(peer: { readonly id: string }): void;
  onListenerError(error: unknown): void;
  /** A viewer has packets to send within the next milliseconds. */
  onPending(): void;
}

export interface PublisherConnectionOptions {
  readonly rtc: RtcOptions;
  /** Of the first video track; left out, its media time starts with its own first timestamp. */
  readonly clock?: RtpClock | undefined;
  /** Tracks of each kind; left out, one: a broadcast has one source. */
  readonly maxVideoTracks?: number;
  readonly maxAudioTracks?: number;
  /** We offer to it, in place of accept(). */
  readonly target?: TransportTarget;
  /** For tests and replays without sockets. */
  readonly createTransport?: CreateTransport;
  /** Writes down what the transport delivers and what the first video track makes of it (session-replay.ts). */
  readonly recorder?: SessionRecorder | undefined;
}

/**
 * A peer that sends to us: a transport, and a track for each section it sends. The first video track leads: audio follows
 * its time line. It offers, and a later offer may add and remove tracks; or it is a server, and answers our offer.
 */
export class PublisherConnection implements PublisherPeer, PulledPeer {
  readonly id = randomUUID();
  readonly #options: PublisherConnectionOptions;
  readonly #listener: IncomingListener;
  readonly #owner: PeerOwner;
  readonly #transport: PeerTransport;
  /** The transport, where we offer. */
  readonly #target: SecureTransport | undefined;
  readonly #localSsrc = randomSsrc();
  readonly #demux = new RtpDemux();
  readonly #feedback = new TransportFeedbackBuilder();
  readonly #bits = new RateMeter();
  readonly #digests = new UnitDigests();
  readonly #tracks = new Map<string, IncomingVideoTrack | IncomingAudioTrack>();
  /** The tracks by kind; the first video track leads. */
  #videos: readonly IncomingVideoTrack[] = [];
  #audios: readonly IncomingAudioTrack[] = [];
  /** What our offer asks for. */
  #wanted: readonly WantedTrack[] | undefined;
  #plan: ReceivingPlan | undefined;
  #clock: RtpClock | undefined;
  #transportSequenceId: number | undefined;
  #feedbackAtUs: MonotonicUs = 0;
  #reportAtUs: MonotonicUs = 0;
  #version = 1;

  constructor(options: PublisherConnectionOptions, listener: IncomingListener, owner: PeerOwner) {
    this.#options = options;
    this.#listener = listener;
    this.#owner = owner;
    this.#clock = options.clock;
    const events: TransportListener = {
      onState: (state, cause) => this.#onState(state, cause),
      onRtp: (packet, arrivedAtUs) => this.#onRtp(packet, arrivedAtUs),
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

  async accept(offerSdp: string, admit?: () => void): Promise<string> {
    if (this.#plan !== undefined) throw new AppError('request.state', 'This publisher has already been accepted.');
    const { plan, answer } = this.#read(offerSdp);
    admit?.();
    this.#apply(plan);
    const local = await this.#transport.accept(plan.transport);
    this.#addCandidates(plan);
    return answer(local);
  }

  async offer(): Promise<string> {
    if (this.#target === undefined || this.#wanted !== undefined) {
      throw new AppError('request.state', 'This peer is no target, or has got an offer already.');
    }
    this.#wanted = wantedTracks(this.#options.rtc.maxIngestBitrateBps);
    return describeOffer(this.#wanted, await this.#target.offer(), String(this.#localSsrc));
  }

  async acceptAnswer(answerSdp: string): Promise<void> {
    if (this.#target === undefined || this.#wanted === undefined || this.#plan !== undefined) {
      throw new AppError('request.state', 'This target has no offer that waits for an answer.');
    }
    const plan = planReceiving(this.#wanted, parseAnswer(answerSdp));
    this.#apply(plan);
    await this.#target.answered(plan.transport);
    this.#addCandidates(plan);
  }

  /** The tracks of the session must stay. */
  async restart(offerSdp: string): Promise<string> {
    const before = this.#accepted;
    const { plan, answer } = this.#read(offerSdp);
    const shape = ({ tracks }: ReceivingPlan) => tracks.map(({ id, kind }) => `${kind} ${id}`).join();
    if (shape(plan) !== shape(before)) {
      throw new AppError('sdp.unsupported', 'An ICE restart must keep the tracks of the session.');
    }
    return this.#describe(plan, answer);
  }

  async renegotiate(offerSdp: string): Promise<string> {
    void this.#accepted;
    const { plan, answer } = this.#read(offerSdp);
    return this.#describe(plan, answer);
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

  requestKeyframe(track?: string): void {
    for (const video of this.#videos) if (track === undefined || video.id === track) video.requestKeyframe();
  }

  getStats(): PublisherStats {
    const nowUs = monotonicUs();
    const videos = this.#videos;
    const sum = (of: (track: IncomingVideoTrack) => number) => videos.reduce((total, track) => total + of(track), 0);
    return {
      codec: videos[0]?.codec,
      bitrateBps: this.#bits.perSecond(nowUs),
      framesPerSecond: videos[0]?.framesPerSecond(nowUs) ?? 0,
      packetsReceived: this.#transport.counters.packetsReceived,
      packetsLost: sum(({ packetsLost }) => packetsLost),
      timestampsReplaced: sum(({ clock }) => clock.restamped),
      nacksSent: sum(({ nacksSent }) => nacksSent),
      keyframeRequestsSent: sum(({ keyframeRequestsSent }) => keyframeRequestsSent),
      hasAudio: this.#audios.some(({ ssrc }) => ssrc !== undefined),
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
      ssrcs: this.#demux.size,
      packetsOfNoTrack: this.#demux.unknown,
      stats: this.getStats(),
      transport: this.#transport,
    };
  }

  /** Every 10 ms or so, from the stack's one timer. */
  tick(nowUs: MonotonicUs): void {
    this.#transport.tick(nowUs);
    if (!this.#transport.secure) return;
    this.#options.recorder?.writeTick(nowUs, this.#transport.roundTripUs);
    for (const track of this.#videos) track.tick(nowUs);
    if (nowUs - this.#feedbackAtUs >= FEEDBACK_INTERVAL_US && this.#feedback.pending > 0) {
      this.#feedbackAtUs = nowUs;
      const mediaSsrc = [...this.#tracks.values()].find(({ ssrc }) => ssrc !== undefined)?.ssrc ?? 0;
      for (const packet of this.#feedback.build(this.#localSsrc, mediaSsrc)) this.#transport.sendRtcp(packet);
    }
    if (nowUs - this.#reportAtUs < REPORT_INTERVAL_US) return;
    this.#reportAtUs = nowUs;
    const reports = [...this.#tracks.values()].flatMap((track) => track.report(nowUs) ?? []);
    if (reports.length === 0) return;
    this.#transport.sendRtcp(
      buildReceiverReport(this.#localSsrc, reports),
      buildSourceDescription(this.#localSsrc, this.id),
    );
  }

  get #accepted(): ReceivingPlan {
    if (this.#plan === undefined) throw new AppError('request.state', 'This publisher has not been accepted yet.');
    return this.#plan;
  }

  #read(offerSdp: string) {
    const { rtc, maxVideoTracks, maxAudioTracks } = this.#options;
    const offer = parseOffer(offerSdp);
    this.#options.recorder?.write('offer', monotonicUs(), Buffer.from(offerSdp));
    const plan = planPublisher(offer, {
      startBitrateBps: rtc.ingestStartBitrateBps,
      maxBitrateBps: rtc.maxIngestBitrateBps,
      ...(maxVideoTracks === undefined ? {} : { maxVideoTracks }),
      ...(maxAudioTracks === undefined ? {} : { maxAudioTracks }),
    });
    const answer = (local: LocalTransportParameters) =>
      buildAnswer(offer, plan.answer, local, { id: String(this.#localSsrc), version: this.#version });
    return { plan, answer };
  }

  /** A later description of the session. A transport that refuses it leaves the tracks as they are. */
  async #describe(plan: ReceivingPlan, answer: (local: LocalTransportParameters) => string): Promise<string> {
    const local = await this.#transport.update(plan.transport);
    this.#apply(plan);
    this.#version += 1;
    this.#addCandidates(plan);
    return answer(local);
  }

  #apply(plan: ReceivingPlan): void {
    this.#plan = plan;
    const planned = new Map(plan.tracks.map((track) => [track.id, track]));
    for (const [id, track] of this.#tracks) {
      if (planned.get(id)?.kind === track.kind) continue;
      if (track.kind === 'video') track.close();
      this.#tracks.delete(id);
    }
    for (const track of plan.tracks) {
      const known = this.#tracks.get(track.id);
      if (known === undefined) this.#tracks.set(track.id, this.#create(track));
      else known.update(track);
    }
    const tracks = [...this.#tracks.values()];
    this.#videos = tracks.filter((track) => track.kind === 'video');
    this.#audios = tracks.filter((track) => track.kind === 'audio');
    this.#configureDemux(plan);
  }

  #configureDemux(plan: ReceivingPlan): void {
    const first = <K extends keyof IncomingTrackPlan>(key: K) =>
      plan.tracks.find((track) => track[key] !== undefined)?.[key];
    this.#transportSequenceId = first('transportSequenceId');
    const extensions = { midId: first('midId'), ridId: first('ridId'), repairedRidId: first('repairedRidId') };
    const tracks = plan.tracks.map(({ id, ssrcs, codecs, rtx }) => ({
      id,
      ssrcs,
      payloadTypes: [...codecs.keys(), ...rtx.keys()],
    }));
    this.#demux.configure(tracks, extensions);
  }

  #create(plan: IncomingTrackPlan): IncomingVideoTrack | IncomingAudioTrack {
    const { id } = plan;
    if (plan.kind === 'audio') {
      return new IncomingAudioTrack(plan, (packet) => this.#call(() => this.#listener.onAudioPacket(packet, id)));
    }
    const clock = this.#clock ?? new RtpClock();
    this.#clock = undefined;
    const options = {
      localSsrc: this.#localSsrc,
      jitterMs: this.#options.rtc.jitterMs,
      clock,
      transport: this.#transport,
    };
    const leads = () => this.#videos[0]?.id === id;
    return new IncomingVideoTrack(plan, options, {
      onAccessUnit: (unit) => {
        if (leads()) this.#recordUnit(unit);
        this.#call(() => this.#listener.onAccessUnit(unit, id));
      },
      onPacket: (packet, codec) => this.#call(() => this.#listener.onVideoPacket(packet, codec, id)),
      onDrop: (reason, count) => this.#call(() => this.#listener.onDrop(reason, count, id)),
      onMediaTime: (mediaTime, receivedAtUs) => {
        if (leads()) for (const { alignment } of this.#audios) alignment.onVideo(mediaTime, receivedAtUs);
      },
      onReport: (ntpUs, mediaTime) => {
        if (leads()) for (const { alignment } of this.#audios) alignment.onVideoReport(ntpUs, mediaTime);
      },
      onRestart: () => {
        if (leads()) for (const { alignment } of this.#audios) alignment.restart('video');
      },
    });
  }

  #addCandidates({ candidates }: ReceivingPlan): void {
    for (const candidate of candidates) this.#transport.addCandidate({ candidate });
  }

  #onState(state: PeerState, cause?: AppError): void {
    if (cause !== undefined) this.#owner.onListenerError(cause);
    this.#call(() => this.#listener.onState(state, cause));
    if (state === 'closed') {
      for (const track of this.#videos) track.close();
      this.#options.recorder?.close();
      this.#owner.onClosed(this);
    }
  }

  #recordUnit(unit: AccessUnit): void {
    const { recorder } = this.#options;
    if (recorder !== undefined) recorder.write('unit', unit.assembledAtUs, this.#digests.of(unit));
  }

  #onRtp(data: Buffer, nowUs: MonotonicUs): void {
    this.#options.recorder?.write('rtp', nowUs, data);
    const packet = parseRtp(data);
    if (packet === undefined) return;
    this.#bits.add(data.length * 8, nowUs);
    if (this.#transportSequenceId !== undefined) {
      const value = findExtension(packet, this.#transportSequenceId);
      if (value !== undefined && value.length >= 2) this.#feedback.onPacket(value.readUInt16BE(0), nowUs);
    }
    const encoding = this.#demux.route(packet, nowUs);
    const track = encoding === undefined ? undefined : this.#tracks.get(encoding.track);
    if (encoding === undefined || track === undefined) return;
    if (track.kind === 'video') track.onRtp(packet, encoding, nowUs);
    else track.onRtp(packet, nowUs);
  }

  #onRtcp(data: Buffer, nowUs: MonotonicUs): void {
    this.#options.recorder?.write('rtcp', nowUs, data);
    for (const message of parseRtcp(data)) {
      if (message.kind !== 'senderReport') continue;
      for (const track of this.#tracks.values()) if (track.ssrc === message.ssrc) track.onSenderReport(message, nowUs);
    }
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
