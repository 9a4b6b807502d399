import type { AppErrorJson } from '../../errors.ts';
import type { MediaTime, SourceCodec } from '../../media/types.ts';

/** Between the server and a process that muxes (muxer-process.ts, child.ts). Bytes are copied by the channel. */

export interface VideoItem {
  readonly type: 'video';
  readonly codec: SourceCodec;
  /** As AccessUnit.data. */
  readonly data: Uint8Array;
  /** Of presentation; the order of the items is that of decoding. */
  readonly mediaTime: MediaTime;
  readonly keyframe: boolean;
  /** Undefined: the bitstream says (a source's access units). */
  readonly size: { readonly width: number; readonly height: number } | undefined;
}

export interface AudioItem {
  readonly type: 'audio';
  /** One Opus packet. */
  readonly data: Uint8Array;
  readonly mediaTime: MediaTime;
}

export type MediaItem = VideoItem | AudioItem;

export type AudioForm = 'aac' | 'opus';

/** Where a muxer writes. Everything has been checked: the child opens what stands here. */
export interface RecordingTarget {
  readonly kind: 'recording';
  readonly folder: string;
  /** Of the file's name, without date and ending (recording-name.ts). */
  readonly stem: string;
  readonly container: 'auto' | 'mp4' | 'webm';
  readonly rotateSeconds: number;
  readonly rotateBytes: number;
}

export interface HlsTarget {
  readonly kind: 'hls';
  /** Of this broadcast alone. */
  readonly folder: string;
  readonly segmentSeconds: number;
  readonly window: number;
}

/** A server that takes a stream. */
export interface PushTarget {
  readonly kind: 'push';
  readonly muxer: 'flv' | 'mpegts' | 'rtsp';
  /** With the address that was checked in place of the host's name. */
  readonly url: string;
  /** For people: without user, password, path and query. */
  readonly label: string;
  readonly codecs: readonly SourceCodec[];
  readonly audio: AudioForm;
  /** Of the protocol; only with `flv`, whose muxer is then wrapped (push-output.ts). */
  readonly protocolOptions: Readonly<Record<string, string>>;
  readonly options: Readonly<Record<string, string>>;
  /** The connection stays open this long after the last packet. */
  readonly lingerMs?: number;
}

/** A video device that other programs see as a camera. */
export interface CameraTarget {
  readonly kind: 'camera';
  readonly device: string;
  /** Even, and never another: programs keep the size that they began with. */
  readonly width: number;
  readonly height: number;
}

export type MuxTarget = RecordingTarget | HlsTarget | PushTarget | CameraTarget;

export type ToMuxer =
  | { readonly type: 'open'; readonly session: number; readonly target: MuxTarget }
  | { readonly type: 'media'; readonly session: number; readonly item: MediaItem }
  /** The source has sound: the container waits for its first packet. */
  | { readonly type: 'sound'; readonly session: number; readonly expected: boolean }
  | { readonly type: 'close'; readonly session: number };

export type FromMuxer =
  | { readonly type: 'ready' }
  /** An item has been handled: another may be sent. */
  | { readonly type: 'taken'; readonly session: number }
  /** A file or a connection is open. */
  | { readonly type: 'running'; readonly session: number; readonly target: string }
  | { readonly type: 'needKeyframe'; readonly session: number }
  | { readonly type: 'failed'; readonly session: number; readonly error: AppErrorJson }
  | { readonly type: 'closed'; readonly session: number };
