import type { AccessUnit, DropReason, MediaTime, MonotonicUs, ResultCodec, SourceCodec } from '../media/types.ts';
import type { PacketizedFrame } from '../media/packetizer.ts';
import type { RtpClock } from '../media/rtp-clock.ts';
import type { Config } from '../config/config.ts';
export type { IceServer } from '../config/sections/ice.ts';
import type { AppError } from '../errors.ts';

/**
 * What the rest of the server sees of WebRTC: publishers and viewers as peers. PeerStack implements it, and app.ts alone
 * imports that; broadcast/ works against these interfaces and is tested with fakes.
 */

export type PeerState = 'connecting' | 'connected' | 'disconnected' | 'closed';

/** An RTP packet of the publisher, to be forwarded: payload shared and never changed, header fields already unwrapped. */
export interface ForwardPacket {
  /**
   * Identifies the RTP stream; unique in the process. When it changes (new SSRC, publisher reconnected) sequence and
   * timestamp start again, and viewers continue theirs without a gap.
   */
  readonly stream: number;
  readonly payload: Uint8Array;
  readonly marker: boolean;
  /** Unwrapped sequence number of the publisher's track; gaps are real losses. */
  readonly sequence: number;
  /** Unwrapped timestamp in the track's clock (90 kHz video, 48 kHz Opus). */
  readonly timestamp: number;
  /**
   * The same instant on the broadcast's video time line, audio too (by the publisher's sender reports): what the audio
   * delay line compares with the video's presentation, and what viewers' sender reports carry for lip sync.
   */
  readonly mediaTime: MediaTime;
  readonly receivedAtUs: MonotonicUs;
  /** Value of the color-space header extension (colour-space.ts), if the packet had one: without it VP8 loses its colours. */
  readonly colourSpace?: Uint8Array | undefined;
}

export interface PublisherListener {
  /** @param cause why it is closed, when more is known than that the peer is gone */
  onState(state: PeerState, cause?: AppError): void;
  /** Complete, ordered access units for the pipeline. */
  onAccessUnit(unit: AccessUnit): void;
  /** Every video packet in order, for viewers of the untouched source. */
  onVideoPacket(packet: ForwardPacket, codec: SourceCodec): void;
  onAudioPacket(packet: ForwardPacket): void;
  onDrop(reason: DropReason, count: number): void;
  /** A local candidate found after the answer was sent (trickle ICE); without it late ones are not announced. */
  onCandidate?(candidate: IceCandidate): void;
}

/** As PublisherListener, of a peer that may send several tracks; `track` is the section's MID. */
export interface IncomingListener {
  onState(state: PeerState, cause?: AppError): void;
  onAccessUnit(unit: AccessUnit, track: string): void;
  onVideoPacket(packet: ForwardPacket, codec: SourceCodec, track: string): void;
  onAudioPacket(packet: ForwardPacket, track: string): void;
  onDrop(reason: DropReason, count: number, track: string): void;
  onCandidate?(candidate: IceCandidate): void;
}

/** Totals since the peer connected; rates over the last second. */
export interface PublisherStats {
  readonly codec: SourceCodec | undefined;
  readonly bitrateBps: number;
  readonly framesPerSecond: number;
  readonly packetsReceived: number;
  readonly packetsLost: number;
  /** Pictures whose timestamps did not advance and were replaced by the time of their arrival (rtp-clock.ts). */
  readonly timestampsReplaced: number;
  readonly nacksSent: number;
  readonly keyframeRequestsSent: number;
  readonly hasAudio: boolean;
}

/** One side's ICE as an SDP fragment carries it (RFC 8840 section 9). */
export interface IceParameters {
  readonly usernameFragment: string;
  readonly password: string;
  /** candidate-attribute values of RFC 8839 section 5.1, without `a=`. */
  readonly candidates: readonly string[];
}

export interface PublisherPeer {
  readonly id: string;
  readonly state: PeerState;
  /**
   * RFC 9429 answer to the offer, with all local candidates that are known without waiting for STUN longer than a second.
   * @param admit called once the offer has proved acceptable and before a socket is open: an offer that is refused must
   *   take no place, because a newcomer's place may be another's; what it throws refuses the offer
   * @throws AppError sdp.invalid | sdp.unsupported, and what `admit` throws
   */
  accept(offerSdp: string, admit?: () => void): Promise<string>;
  /** ICE restart: a new offer of the same session (RFC 8839 section 4.4.1.1.1). */
  restart(offerSdp: string): Promise<string>;
  /** ICE restart without an offer; the same credentials change nothing. @returns our side. @throws AppError */
  restartIce(remote: IceParameters): Promise<IceParameters>;
  addCandidate(candidate: IceCandidate): Promise<void>;
  /**
   * PLI upstream (RFC 4585 section 6.3.1); merged and rate-limited to one per 500 ms inside. Losses and the start need no
   * call (the peer asks itself); a decoder error and a viewer of the source do.
   */
  requestKeyframe(): void;
  getStats(): PublisherStats;
  /** Idempotent; frees sockets and timers. */
  close(): Promise<void>;
}

export interface IceCandidate {
  readonly candidate: string;
  readonly sdpMid?: string | null;
  readonly sdpMLineIndex?: number | null;
}

/**
 * What the sections of a viewer's offer are for. `page`: the first video is the result, the second the source, then audio;
 * `source`: the one video is the source.
 */
export type WatchedTracks = 'page' | 'source';

/** A viewer's tracks: the upscaled result, the untouched source beside it (only if asked for), and audio. */
export type ViewerTrack = 'result' | 'source' | 'audio';

export interface ViewerListener {
  /** @param cause why it is closed, when more is known than that the peer is gone */
  onState(state: PeerState, cause?: AppError): void;
  /** PLI or FIR of the viewer for one of its video tracks; nothing else makes the peer ask. */
  onKeyframeRequest(track: 'result' | 'source'): void;
  /** As PublisherListener.onCandidate. */
  onCandidate?(candidate: IceCandidate): void;
}

/** As ViewerListener, of a peer that may take several tracks. */
export interface OutgoingListener {
  onState(state: PeerState, cause?: AppError): void;
  /** @param track id of the layout */
  onKeyframeRequest(track: string): void;
  onCandidate?(candidate: IceCandidate): void;
}

export interface ViewerStats {
  readonly bitrateBps: number;
  readonly packetsSent: number;
  /** From receiver reports: fraction lost 0..1 of the last report, round-trip time in ms if known. */
  readonly fractionLost: number;
  /** Packets of the result sent again between its last two receiver reports, as a share of the new ones. */
  readonly resentShare: number;
  /** Payload of the result track that arrived between its last two receiver reports, bit/s, and when the last one came. */
  readonly deliveredBps: number | undefined;
  readonly reportedAtUs: MonotonicUs | undefined;
  readonly roundTripMs: number | undefined;
  /** REMB (draft-alvestrand-rmcat-remb-03), bits per second for the whole peer. */
  readonly estimateBps: number | undefined;
  readonly nacksReceived: number;
  readonly keyframeRequestsReceived: number;
}

export interface ViewerPeer {
  readonly id: string;
  readonly state: PeerState;
  /** After accept(): it has a track for the result. */
  readonly takesResult: boolean;
  /** After accept(): the codec this viewer takes for the result track. */
  readonly resultCodec: ResultCodec;
  /** After accept(): the codecs this viewer takes for the source track; empty when it asked for none. */
  readonly sourceCodecs: readonly SourceCodec[];
  /** The offer has recvonly m-lines, as WatchedTracks says.
   *  @throws AppError sdp.invalid | sdp.unsupported */
  accept(offerSdp: string): Promise<string>;
  restart(offerSdp: string): Promise<string>;
  restartIce(remote: IceParameters): Promise<IceParameters>;
  addCandidate(candidate: IceCandidate): Promise<void>;
  /**
   * Writes the frame, packetized once for all viewers (shared and never changed), if the connection is up. Whether this
   * viewer's decoder can use it is the caller's decision (broadcast/keyframe-gate.ts).
   */
  sendResult(frame: PacketizedFrame): void;
  sendSource(packet: ForwardPacket, codec: SourceCodec): void;
  /** The next packets of the source follow the last one sent without a gap: those between were not meant for this viewer. */
  joinSource(): void;
  sendAudio(packet: ForwardPacket): void;
  getStats(): ViewerStats;
  close(): Promise<void>;
}

export interface TargetVideo {
  /** `result`: pictures that this server encodes; `source`: the publisher's packets. */
  readonly track: 'result' | 'source';
  /** In order of preference; the answer chooses. */
  readonly codecs: readonly SourceCodec[];
}

/** A server that takes a broadcast from us: we offer, it answers (WHIP). Otherwise as a viewer. */
export interface TargetPeer extends Omit<
  ViewerPeer,
  'accept' | 'restart' | 'restartIce' | 'addCandidate' | 'takesResult' | 'joinSource'
> {
  /** One video and one audio track, our candidates included. @throws AppError peer.connection */
  offer(video: TargetVideo): Promise<string>;
  /** Starts connecting. @throws AppError sdp.invalid | sdp.unsupported: the answer cannot be used */
  acceptAnswer(answerSdp: string): Promise<void>;
}

/** A server that a broadcast is taken from: we offer to receive, it answers (WHEP). Otherwise as a publisher. */
export interface PulledPeer extends Omit<PublisherPeer, 'accept' | 'restart' | 'restartIce' | 'addCandidate'> {
  /** One video and one audio track, our candidates included. @throws AppError peer.connection */
  offer(): Promise<string>;
  /** Starts connecting. @throws AppError sdp.invalid | sdp.unsupported: the answer cannot be used */
  acceptAnswer(answerSdp: string): Promise<void>;
}

/** Of a server that we offer to. */
export interface ConnectOptions {
  /** Which addresses of the answer may be sent to. */
  readonly allowsAddress: (address: string) => boolean;
  /** In place of `ice.interfaceAddresses`, for a target on this machine. */
  readonly interfaceAddresses?: readonly string[] | undefined;
  /** From the answer until the connection is up. */
  readonly connectWithinMs: number;
}

export interface TargetOptions extends ConnectOptions {
  /** Size of the result, for the H264 level of the offer. */
  readonly maxOutput: { readonly width: number; readonly height: number };
}

/**
 * The settings of WebRTC. `interfaceAddresses` is what the server listens on (empty: every IPv4 interface); tests and
 * loopback servers use ['127.0.0.1'].
 */
export type RtcOptions = Config['ice'] &
  Pick<Config['media'], 'jitterMs' | 'ingestStartBitrateBps' | 'maxIngestBitrateBps'>;

/** The factory main hands to broadcast/. */
export interface RtcStack {
  /**
   * @param clock of the broadcast, so that media time goes on when another connection of the same publisher takes over;
   *   left out, the peer's media time starts with its own first timestamp
   */
  createPublisher(listener: PublisherListener, clock?: RtpClock): PublisherPeer;
  /**
   * @param maxOutput size of the result so that the answer offers a sufficient H264 level (RFC 6184 section 8.1)
   * @param tracks left out, a page's
   */
  createViewer(
    listener: ViewerListener,
    maxOutput: { readonly width: number; readonly height: number },
    tracks?: WatchedTracks,
  ): ViewerPeer;
  onError(listener: (error: AppError) => void): void;
  close(): Promise<void>;
}

/** The factory of peers that we offer to; app hands it to egress/. */
export interface TargetStack {
  createTarget(listener: ViewerListener, options: TargetOptions): TargetPeer;
}

/** The factory of peers that we offer to receive from; app hands it to ingress/. */
export interface PullStack {
  /** @param clock of the broadcast, as createPublisher() takes it */
  createPulled(listener: PublisherListener, options: ConnectOptions, clock?: RtpClock): PulledPeer;
}
