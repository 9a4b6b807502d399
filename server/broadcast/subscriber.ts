import type { AppError } from '../errors.ts';
import type { ViewerReport } from '../media/bitrate-controller.ts';
import type { AccessUnit, DropReason, EncodedFrame, Rendition, ResultCodec, SourceCodec } from '../media/types.ts';
import type { ForwardPacket } from '../rtc/peers.ts';
import type { BroadcastStats, SessionState, ViewerSessionStats } from './statistics.ts';

/** Where a subscriber stands: the one answer to whether its decoder may get a frame. See keyframe-gate.ts for the transitions. */
export type SubscriberState =
  /** Nothing can be sent yet. */
  | { readonly kind: 'connecting' }
  /** It can take frames; the first of them must be a keyframe of `rendition`. */
  | { readonly kind: 'waitingKeyframe'; readonly rendition: Rendition }
  /** It decodes `rendition` and changes to `wanted` with the next keyframe of that. */
  | { readonly kind: 'playing'; readonly rendition: Rendition; readonly wanted: Rendition }
  /** Its connection is silent: it gets nothing, costs no encoder and has no say in the bit rate until it is back. */
  | { readonly kind: 'interrupted' }
  | { readonly kind: 'closed' };

/**
 * Takes a broadcast's encoded frames: a viewer (WebRTC), a recorder, a relay. The broadcast runs the encoders that its
 * subscribers' `codec` and `renditions` name, and asks each at most one thing at a time; no method may throw or block.
 */
export interface Subscriber {
  readonly id: string;
  readonly kind: 'viewer' | 'recorder' | 'relay';
  /** The publisher watches itself; not counted. */
  readonly own?: boolean;
  readonly state: SubscriberState;
  /** What goes out to it now, bit/s. */
  readonly bitrateBps: number;
  /** Meaningful once `state` is neither connecting nor closed. */
  readonly codec: ResultCodec;
  /** The encoders that must run for it: two while it changes rendition, none while it cannot take frames. */
  readonly renditions: readonly Rendition[];
  /** It takes the publisher's untouched packets as well. */
  readonly wantsSource: boolean;
  /** What its link carries; undefined: it has no say in the shared bit rate. */
  report(): ViewerReport | undefined;
  /** @returns true when the wanted rendition changed, so that its encoder should make a keyframe */
  want(rendition: Rendition): boolean;
  /** The stream of results begins again (new pipeline): the next frame it can use is a keyframe. */
  restart(): void;
  /** Every frame of every encoder of the broadcast; which of them it takes is its own decision. */
  onResult(frame: EncodedFrame): void;
  onSource(packet: ForwardPacket, codec: SourceCodec): void;
  /** Every picture of the source as it came, in decoding order. Its bytes go to the pipeline afterwards: keep a copy. */
  onSourceUnit?(unit: AccessUnit): void;
  onAudio(packet: ForwardPacket): void;
  /** `ended` is the last call; `error` says why when the subscriber did not ask for it. */
  onState(state: SessionState, reason: string, error?: AppError): void;
  /** Once a second. */
  onStats(stats: BroadcastStats): void;
  /** Of a viewer: for lists of those who operate the server. */
  detail?(): ViewerDetail;
  /** Idempotent. */
  close(): Promise<void>;
}

/** One viewer, for whoever operates the server: neither its session's id nor its address. */
export interface ViewerDetail extends ViewerSessionStats {
  state: SubscriberState['kind'];
  codec: string | null;
  /** The publisher watches itself; not counted. */
  own: boolean;
}

/** What a subscriber may ask of the broadcast it belongs to. */
export interface Subscription {
  /** It takes frames from now on, for the first time or again: its encoder runs and makes one keyframe. */
  started(): void;
  /** It takes none for now. */
  interrupted(): void;
  /** Its decoder cannot go on. */
  requestKeyframe(track: 'result' | 'source'): void;
  dropped(reason: DropReason, frames: number): void;
  /** It has ended by itself: the broadcast forgets and closes it. */
  ended(): void;
}
