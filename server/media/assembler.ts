import { Av1Depacketizer } from './av1.ts';
import { MAX_UNIT_BYTES, MAX_UNIT_PACKETS, type Depacketizer } from './depacketizer.ts';
import { H264Depacketizer } from './h264.ts';
import { startsPicture } from './picture-start.ts';
import type { RtpPacket } from './rtp.ts';
import type { AccessUnit, Colour, DropReason, MediaTime, MonotonicUs, SourceCodec } from './types.ts';
import { Vp8Depacketizer } from './vp8.ts';
import { Vp9Depacketizer } from './vp9.ts';

export interface AssemblerEvents {
  onAccessUnit(unit: AccessUnit): void;
  onDrop(reason: DropReason, count: number): void;
  /** A frame is missing that others refer to: only a keyframe helps. May be called for every frame until one comes. */
  onKeyframeNeeded(): void;
}

export interface AssemblerPacket {
  readonly packet: Pick<RtpPacket, 'payload' | 'marker' | 'timestamp'>;
  readonly codec: SourceCodec;
  readonly mediaTime: MediaTime;
  readonly receivedAtUs: MonotonicUs;
  /** Packets given up directly before this one. */
  readonly lostBefore: number;
  /** Of the packet's header extension, if it has one. */
  readonly colour?: Colour | undefined;
}

interface OpenUnit {
  readonly timestamp: number;
  readonly mediaTime: MediaTime;
  receivedAtUs: MonotonicUs;
  bytes: number;
  packets: number;
  colour: Colour | undefined;
}

/**
 * Ordered packets in, access units out. A unit ends at the marker or when the timestamp changes. After a loss every unit
 * up to the next keyframe is dropped: decoding on without the reference shows garbage that the upscaler then sharpens.
 *
 * Worst case: O(1) a packet, linear in a unit's bytes at its end. A unit of more than 4 MiB or 8192 packets is dropped as
 * `oversize`, and what it held is released at once.
 */
export class FrameAssembler {
  readonly #events: AssemblerEvents;
  readonly #depacketizers: Record<SourceCodec, Depacketizer> = {
    H264: new H264Depacketizer(),
    VP8: new Vp8Depacketizer(),
    VP9: new Vp9Depacketizer(),
    AV1: new Av1Depacketizer(),
  };
  #codec: SourceCodec | undefined;
  #open: OpenUnit | undefined;
  #damaged = false;
  #oversize = false;
  #awaitingKeyframe = true;

  constructor(events: AssemblerEvents) {
    this.#events = events;
  }

  get awaitingKeyframe(): boolean {
    return this.#awaitingKeyframe;
  }

  add({ packet, codec, mediaTime, receivedAtUs, lostBefore, colour }: AssemblerPacket, nowUs: MonotonicUs): void {
    if (lostBefore > 0) this.#lose();
    if (packet.payload.length === 0) return; // padding probe
    if (this.#open !== undefined && (this.#open.timestamp !== packet.timestamp || codec !== this.#codec)) {
      this.#finish(nowUs);
    }
    if (codec !== this.#codec) {
      if (this.#codec !== undefined) this.#awaitingKeyframe = true;
      this.#codec = codec;
    }
    if (this.#open === undefined) {
      this.#open = { timestamp: packet.timestamp, mediaTime, receivedAtUs, bytes: 0, packets: 0, colour: undefined };
      this.#damaged = lostBefore > 0 && !startsPicture(codec, packet.payload);
    }
    this.#open.bytes += packet.payload.length;
    this.#open.packets += 1;
    if (colour !== undefined) this.#open.colour = colour;
    // Retransmissions make a unit's first packet arrive last; its reception counts from the earliest.
    if (receivedAtUs < this.#open.receivedAtUs) this.#open.receivedAtUs = receivedAtUs;
    if (this.#open.bytes > MAX_UNIT_BYTES || this.#open.packets > MAX_UNIT_PACKETS) this.#oversize = true;
    if (this.#damaged || this.#oversize) this.#depacketizers[codec].reset();
    else this.#depacketizers[codec].add(packet);
    if (packet.marker) this.#finish(nowUs);
  }

  /** The stream was replaced: what is open will never be completed. */
  restart(): void {
    if (this.#open !== undefined) this.#events.onDrop('incomplete', 1);
    this.#open = undefined;
    this.#damaged = this.#oversize = false;
    this.#awaitingKeyframe = true;
    for (const depacketizer of Object.values(this.#depacketizers)) depacketizer.reset();
  }

  /** The decoder met an error: nothing before the next keyframe is of use. */
  requireKeyframe(): void {
    this.#awaitingKeyframe = true;
  }

  #lose(): void {
    this.#awaitingKeyframe = true;
    if (this.#open !== undefined) this.#damaged = true;
    this.#events.onKeyframeNeeded();
  }

  #finish(nowUs: MonotonicUs): void {
    const open = this.#open;
    const codec = this.#codec;
    if (open === undefined || codec === undefined) return;
    const result = this.#depacketizers[codec].finish();
    const oversize = this.#oversize || result === 'oversize';
    const damaged = this.#damaged;
    this.#open = undefined;
    this.#damaged = this.#oversize = false;
    if (oversize || damaged || result === 'damaged') {
      this.#awaitingKeyframe = true;
      this.#events.onDrop(oversize ? 'oversize' : 'incomplete', 1);
      this.#events.onKeyframeNeeded();
      return;
    }
    if (this.#awaitingKeyframe && !result.keyframe) {
      this.#events.onDrop('awaiting-keyframe', 1);
      this.#events.onKeyframeNeeded();
      return;
    }
    this.#awaitingKeyframe = false;
    this.#events.onAccessUnit({
      codec,
      data: result.data,
      mediaTime: open.mediaTime,
      keyframe: result.keyframe,
      receivedAtUs: open.receivedAtUs,
      assembledAtUs: nowUs,
      ...(open.colour === undefined ? {} : { colour: open.colour }),
    });
  }
}
