import { findExtension, type RtpPacket } from '../media/rtp.ts';
import type { MonotonicUs } from '../media/types.ts';

/**
 * Which track of a bundled session a packet belongs to (RFC 8843 section 9.2): by MID, then by an SSRC that is known from
 * the description or from an earlier packet, then by a payload type that only one track has. RID and repaired RID (RFC 8852)
 * name the encoding within the track.
 *
 * Worst case: MAX_SSRCS remembered; a packet of a new SSRC looks at each of them once.
 */

/** A session of 16 tracks has 32 with RTX; streams that were replaced stay until others need their place. */
const MAX_SSRCS = 64;

export interface DemuxedTrack {
  readonly id: string;
  readonly ssrcs: readonly number[];
  readonly payloadTypes: readonly number[];
}

/** Bundled sections must give an extension one id (RFC 8843 section 9.2 and RFC 8285 section 6). */
export interface DemuxExtensions {
  readonly midId: number | undefined;
  readonly ridId: number | undefined;
  readonly repairedRidId: number | undefined;
}

/** One SSRC. */
export interface Encoding {
  readonly track: string;
  /** Of the encoding it carries or repairs; undefined while no packet has named it. */
  rid: string | undefined;
  usedAtUs: MonotonicUs;
}

export class RtpDemux {
  readonly #ssrcs = new Map<number, Encoding>();
  #tracks: ReadonlyMap<string, DemuxedTrack> = new Map();
  #byPayloadType: ReadonlyMap<number, string> = new Map();
  #extensions: DemuxExtensions = { midId: undefined, ridId: undefined, repairedRidId: undefined };
  /** Packets of no track. */
  unknown = 0;

  get size(): number {
    return this.#ssrcs.size;
  }

  /** The tracks of a new description; SSRCs of tracks that stay are kept. */
  configure(tracks: readonly DemuxedTrack[], extensions: DemuxExtensions): void {
    this.#tracks = new Map(tracks.map((track) => [track.id, track]));
    this.#extensions = extensions;
    const owners = new Map<number, string | undefined>();
    for (const { id, payloadTypes } of tracks) {
      for (const payloadType of payloadTypes) owners.set(payloadType, owners.has(payloadType) ? undefined : id);
    }
    const unique = [...owners].flatMap(([payloadType, id]) => (id === undefined ? [] : [[payloadType, id] as const]));
    this.#byPayloadType = new Map(unique);
    for (const [ssrc, { track }] of this.#ssrcs) if (!this.#tracks.has(track)) this.#ssrcs.delete(ssrc);
    for (const { id, ssrcs } of tracks) for (const ssrc of ssrcs) this.#encoding(ssrc, id, 0);
  }

  /** @returns undefined for a packet of no track */
  route(packet: RtpPacket, nowUs: MonotonicUs): Encoding | undefined {
    const mid = this.#text(packet, this.#extensions.midId);
    const known = this.#ssrcs.get(packet.ssrc);
    const track = mid ?? known?.track ?? this.#byPayloadType.get(packet.payloadType);
    if (track === undefined || !this.#tracks.has(track)) {
      this.unknown += 1;
      return undefined;
    }
    const encoding = known?.track === track ? known : this.#encoding(packet.ssrc, track, nowUs);
    encoding.usedAtUs = nowUs;
    const rid = this.#text(packet, this.#extensions.repairedRidId) ?? this.#text(packet, this.#extensions.ridId);
    if (rid !== undefined) encoding.rid = rid;
    return encoding;
  }

  #encoding(ssrc: number, track: string, nowUs: MonotonicUs): Encoding {
    const encoding: Encoding = { track, rid: undefined, usedAtUs: nowUs };
    if (!this.#ssrcs.has(ssrc) && this.#ssrcs.size >= MAX_SSRCS) this.#forgetOne();
    this.#ssrcs.set(ssrc, encoding);
    return encoding;
  }

  /** The one not used for longest. */
  #forgetOne(): void {
    let oldest: number | undefined;
    let usedAtUs = Infinity;
    for (const [ssrc, encoding] of this.#ssrcs) {
      if (encoding.usedAtUs >= usedAtUs) continue;
      oldest = ssrc;
      usedAtUs = encoding.usedAtUs;
    }
    if (oldest !== undefined) this.#ssrcs.delete(oldest);
  }

  #text(packet: RtpPacket, id: number | undefined): string | undefined {
    const value = id === undefined ? undefined : findExtension(packet, id);
    return value === undefined || value.length === 0 ? undefined : value.toString('latin1');
  }
}
