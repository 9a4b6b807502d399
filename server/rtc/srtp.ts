import { createCipheriv, createDecipheriv, createHmac, timingSafeEqual } from 'node:crypto';

/**
 * SRTP and SRTCP (RFC 3711, AES-GCM: RFC 7714) on node:crypto. werift's own does the same with about three times the
 * allocations per packet; fan-out pays for each, so the packet is built once, in place (see bench of this folder).
 */

export type SrtpProfile = 'AEAD_AES_128_GCM' | 'AES128_CM_HMAC_SHA1_80';

/** In order of preference. */
export const SRTP_PROFILES: readonly SrtpProfile[] = ['AEAD_AES_128_GCM', 'AES128_CM_HMAC_SHA1_80'];

export interface SrtpKeys {
  readonly profile: SrtpProfile;
  readonly masterKey: Buffer;
  /** 14 bytes, 12 with GCM. */
  readonly masterSalt: Buffer;
}

interface SessionKeys {
  readonly key: Buffer;
  readonly salt: Buffer;
  readonly authKey: Buffer;
}

/** Labels of RFC 3711 section 4.3.1: encryption, authentication, salt; for SRTP and SRTCP. */
const RTP_LABELS = [0, 1, 2] as const;
const RTCP_LABELS = [3, 4, 5] as const;
const SHA1_80_TAG_BYTES = 10;
const GCM_TAG_BYTES = 16;
/** Packets older than this against the newest are refused (RFC 3711 section 3.3.2 asks for at least 64). */
const REPLAY_WINDOW = 1024;

export function saltBytes(profile: SrtpProfile): number {
  return profile === 'AEAD_AES_128_GCM' ? 12 : 14;
}

/** AES-CM key derivation with a key derivation rate of 0 (RFC 3711 section 4.3.3). */
function derive(keys: SrtpKeys, [keyLabel, authLabel, saltLabel]: readonly [number, number, number]): SessionKeys {
  const generate = (label: number, bytes: number): Buffer => {
    const x = Buffer.alloc(16);
    keys.masterSalt.copy(x);
    x[7] = (x[7] as number) ^ label;
    const cipher = createCipheriv('aes-128-ctr', keys.masterKey, x);
    return cipher.update(Buffer.alloc(bytes));
  };
  return {
    key: generate(keyLabel, 16),
    authKey: generate(authLabel, 20),
    salt: generate(saltLabel, saltBytes(keys.profile)),
  };
}

export class SrtpSender {
  readonly #gcm: boolean;
  readonly #rtp: SessionKeys;
  readonly #rtcp: SessionKeys;
  readonly #iv: Buffer;
  #rtcpIndex = 0;

  constructor(keys: SrtpKeys) {
    this.#gcm = keys.profile === 'AEAD_AES_128_GCM';
    this.#rtp = derive(keys, RTP_LABELS);
    this.#rtcp = derive(keys, RTCP_LABELS);
    this.#iv = Buffer.alloc(this.#gcm ? 12 : 16);
  }

  /**
   * @param header complete RTP header with extensions; sequence number and SSRC in it must be those given
   * @param index unwrapped sequence number (rollover counter * 65536 + sequence number), not negative
   */
  protect(header: Buffer, payload: Uint8Array, ssrc: number, index: number): Buffer {
    const headerBytes = header.length;
    const end = headerBytes + payload.length;
    if (this.#gcm) {
      const cipher = createCipheriv('aes-128-gcm', this.#rtp.key, gcmRtpIv(this.#iv, this.#rtp.salt, ssrc, index));
      cipher.setAAD(header);
      const encrypted = cipher.update(payload);
      cipher.final();
      const packet = Buffer.allocUnsafe(end + GCM_TAG_BYTES);
      header.copy(packet);
      encrypted.copy(packet, headerBytes);
      cipher.getAuthTag().copy(packet, end);
      return packet;
    }
    const cipher = createCipheriv('aes-128-ctr', this.#rtp.key, ctrIv(this.#iv, this.#rtp.salt, ssrc, index));
    const packet = Buffer.allocUnsafe(end + SHA1_80_TAG_BYTES);
    header.copy(packet);
    cipher.update(payload).copy(packet, headerBytes);
    // The rollover counter is authenticated though not sent (section 4.2); the tag's place holds it meanwhile.
    packet.writeUInt32BE(Math.floor(index / 0x10000), end);
    const tag = createHmac('sha1', this.#rtp.authKey)
      .update(packet.subarray(0, end + 4))
      .digest();
    tag.copy(packet, end, 0, SHA1_80_TAG_BYTES);
    return packet;
  }

  protectRtcp(plain: Buffer): Buffer {
    this.#rtcpIndex = (this.#rtcpIndex + 1) & 0x7fffffff;
    const index = this.#rtcpIndex;
    const ssrc = plain.readUInt32BE(4);
    const word = Buffer.alloc(4);
    word.writeUInt32BE(0x80000000 + index);
    const head = plain.subarray(0, 8);
    if (this.#gcm) {
      const cipher = createCipheriv('aes-128-gcm', this.#rtcp.key, gcmRtcpIv(this.#rtcp.salt, ssrc, index));
      cipher.setAAD(Buffer.concat([head, word]));
      const encrypted = cipher.update(plain.subarray(8));
      cipher.final();
      return Buffer.concat([head, encrypted, cipher.getAuthTag(), word]);
    }
    const cipher = createCipheriv('aes-128-ctr', this.#rtcp.key, ctrIv(Buffer.alloc(16), this.#rtcp.salt, ssrc, index));
    const body = Buffer.concat([head, cipher.update(plain.subarray(8)), word]);
    const tag = createHmac('sha1', this.#rtcp.authKey).update(body).digest();
    return Buffer.concat([body, tag.subarray(0, SHA1_80_TAG_BYTES)]);
  }
}

/**
 * Indices seen lately of one SSRC (RFC 3711 section 3.3.2): a bit for each of the last REPLAY_WINDOW, 128 bytes. accept()
 * clears at most the whole window, whatever the jump.
 */
class ReplayWindow {
  readonly #seen = new Uint32Array(REPLAY_WINDOW / 32);
  newest = -1;
  /** Order of use among the windows of one receiver. */
  usedAt = 0;

  isReplay(index: number): boolean {
    if (index <= this.newest - REPLAY_WINDOW) return true;
    return index <= this.newest && ((this.#seen[(index % REPLAY_WINDOW) >> 5] as number) & (1 << (index & 31))) !== 0;
  }

  accept(index: number): void {
    if (index - this.newest >= REPLAY_WINDOW) this.#seen.fill(0);
    else for (let skipped = this.newest + 1; skipped < index; skipped += 1) this.#set(skipped, false);
    this.#set(index, true);
    if (index > this.newest) this.newest = index;
  }

  #set(index: number, seen: boolean): void {
    const at = (index % REPLAY_WINDOW) >> 5;
    const bit = 1 << (index & 31);
    const word = this.#seen[at] as number;
    this.#seen[at] = seen ? word | bit : word & ~bit;
  }
}

/** SSRCs with state: a browser uses three, one with simulcast and repair streams ten. */
const MAX_SSRCS = 64;

/**
 * The replay windows of one direction. The authenticated peer itself may change its SSRC with every packet: the table stays
 * bounded, and the window that was not used for longest is forgotten, so that the streams in use keep theirs. A packet of a
 * new SSRC costs a search through 64 windows, every other O(1).
 */
class ReplayWindows {
  readonly #windows = new Map<number, ReplayWindow>();
  #uses = 0;

  get size(): number {
    return this.#windows.size;
  }

  of(ssrc: number): ReplayWindow | undefined {
    return this.#windows.get(ssrc);
  }

  /** Only for authentic packets: forged SSRCs must not create state. */
  accept(ssrc: number, index: number): void {
    let window = this.#windows.get(ssrc);
    if (window === undefined) {
      if (this.#windows.size >= MAX_SSRCS) this.#forgetOldest();
      window = new ReplayWindow();
      this.#windows.set(ssrc, window);
    }
    window.usedAt = this.#uses += 1;
    window.accept(index);
  }

  #forgetOldest(): void {
    let oldest: number | undefined;
    let usedAt = Infinity;
    for (const [ssrc, window] of this.#windows) {
      if (window.usedAt >= usedAt) continue;
      oldest = ssrc;
      usedAt = window.usedAt;
    }
    if (oldest !== undefined) this.#windows.delete(oldest);
  }
}

export class SrtpReceiver {
  readonly #gcm: boolean;
  readonly #rtp: SessionKeys;
  readonly #rtcp: SessionKeys;
  readonly #tagBytes: number;
  readonly #rtpWindows = new ReplayWindows();
  readonly #rtcpWindows = new ReplayWindows();

  constructor(keys: SrtpKeys) {
    this.#gcm = keys.profile === 'AEAD_AES_128_GCM';
    this.#rtp = derive(keys, RTP_LABELS);
    this.#rtcp = derive(keys, RTCP_LABELS);
    this.#tagBytes = this.#gcm ? GCM_TAG_BYTES : SHA1_80_TAG_BYTES;
  }

  /** SSRCs with state, of RTP and RTCP together. */
  get streams(): number {
    return this.#rtpWindows.size + this.#rtcpWindows.size;
  }

  /** @returns the RTP packet, or undefined if it is malformed, replayed or not authentic; never throws */
  unprotect(packet: Buffer): Buffer | undefined {
    const headerBytes = rtpHeaderBytes(packet);
    const end = packet.length - this.#tagBytes;
    if (headerBytes === undefined || end < headerBytes) return undefined;
    const ssrc = packet.readUInt32BE(8);
    const window = this.#rtpWindows.of(ssrc);
    const index = estimateIndex(window?.newest, packet.readUInt16BE(2));
    if (index < 0 || window?.isReplay(index) === true) return undefined;
    const plain = this.#gcm
      ? this.#openGcm(packet, headerBytes, end, gcmRtpIv(Buffer.alloc(12), this.#rtp.salt, ssrc, index))
      : this.#openSha1(packet, headerBytes, end, ssrc, index);
    if (plain === undefined) return undefined;
    this.#rtpWindows.accept(ssrc, index);
    return plain;
  }

  unprotectRtcp(packet: Buffer): Buffer | undefined {
    const trailer = 4 + (this.#gcm ? 0 : this.#tagBytes);
    if (packet.length < 8 + 4 + this.#tagBytes) return undefined;
    const wordAt = packet.length - trailer;
    const word = packet.readUInt32BE(wordAt);
    const encrypted = word >= 0x80000000;
    const index = word & 0x7fffffff;
    const ssrc = packet.readUInt32BE(4);
    const window = this.#rtcpWindows.of(ssrc);
    if (!encrypted || window?.isReplay(index) === true) return undefined;
    let plain: Buffer | undefined;
    if (this.#gcm) {
      const tagAt = wordAt - GCM_TAG_BYTES;
      const decipher = createDecipheriv('aes-128-gcm', this.#rtcp.key, gcmRtcpIv(this.#rtcp.salt, ssrc, index));
      decipher.setAAD(Buffer.concat([packet.subarray(0, 8), packet.subarray(wordAt)]));
      decipher.setAuthTag(packet.subarray(tagAt, wordAt));
      const body = decipher.update(packet.subarray(8, tagAt));
      plain = finishes(decipher) ? Buffer.concat([packet.subarray(0, 8), body]) : undefined;
    } else {
      const tagAt = wordAt + 4;
      const tag = createHmac('sha1', this.#rtcp.authKey).update(packet.subarray(0, tagAt)).digest();
      if (timingSafeEqual(tag.subarray(0, SHA1_80_TAG_BYTES), packet.subarray(tagAt))) {
        const iv = ctrIv(Buffer.alloc(16), this.#rtcp.salt, ssrc, index);
        const body = createDecipheriv('aes-128-ctr', this.#rtcp.key, iv).update(packet.subarray(8, wordAt));
        plain = Buffer.concat([packet.subarray(0, 8), body]);
      }
    }
    if (plain !== undefined) this.#rtcpWindows.accept(ssrc, index);
    return plain;
  }

  #openGcm(packet: Buffer, headerBytes: number, end: number, iv: Buffer): Buffer | undefined {
    const decipher = createDecipheriv('aes-128-gcm', this.#rtp.key, iv);
    decipher.setAAD(packet.subarray(0, headerBytes));
    decipher.setAuthTag(packet.subarray(end));
    const body = decipher.update(packet.subarray(headerBytes, end));
    if (!finishes(decipher)) return undefined;
    const plain = Buffer.allocUnsafe(end);
    packet.copy(plain, 0, 0, headerBytes);
    body.copy(plain, headerBytes);
    return plain;
  }

  #openSha1(packet: Buffer, headerBytes: number, end: number, ssrc: number, index: number): Buffer | undefined {
    const rollover = Buffer.alloc(4);
    rollover.writeUInt32BE(Math.floor(index / 0x10000));
    const tag = createHmac('sha1', this.#rtp.authKey).update(packet.subarray(0, end)).update(rollover).digest();
    if (!timingSafeEqual(tag.subarray(0, SHA1_80_TAG_BYTES), packet.subarray(end))) return undefined;
    const iv = ctrIv(Buffer.alloc(16), this.#rtp.salt, ssrc, index);
    const body = createDecipheriv('aes-128-ctr', this.#rtp.key, iv).update(packet.subarray(headerBytes, end));
    const plain = Buffer.allocUnsafe(end);
    packet.copy(plain, 0, 0, headerBytes);
    body.copy(plain, headerBytes);
    return plain;
  }
}

function finishes(decipher: { final(): Buffer }): boolean {
  try {
    decipher.final();
    return true;
  } catch {
    return false;
  }
}

/** Fixed header, CSRCs and extension block; undefined when the packet is shorter than it claims. */
function rtpHeaderBytes(packet: Buffer): number | undefined {
  if (packet.length < 12) return undefined;
  const first = packet[0] as number;
  let bytes = 12 + (first & 0x0f) * 4;
  if ((first & 0x10) !== 0) {
    if (packet.length < bytes + 4) return undefined;
    bytes += 4 + packet.readUInt16BE(bytes + 2) * 4;
  }
  return bytes <= packet.length ? bytes : undefined;
}

/** RFC 3711 section 3.3.1: the index closest to the newest one. */
function estimateIndex(newest: number | undefined, sequenceNumber: number): number {
  if (newest === undefined || newest < 0) return sequenceNumber;
  const rollover = Math.floor(newest / 0x10000);
  const distance = sequenceNumber - (newest % 0x10000);
  if (distance > 0x8000) return (rollover - 1) * 0x10000 + sequenceNumber;
  if (distance < -0x8000) return (rollover + 1) * 0x10000 + sequenceNumber;
  return rollover * 0x10000 + sequenceNumber;
}

/** RFC 3711 section 4.1.1: salt * 2^16 xor ssrc * 2^64 xor index * 2^16. */
function ctrIv(iv: Buffer, salt: Buffer, ssrc: number, index: number): Buffer {
  iv.fill(0);
  salt.copy(iv);
  iv.writeUInt32BE((iv.readUInt32BE(4) ^ ssrc) >>> 0, 4);
  iv.writeUInt32BE((iv.readUInt32BE(8) ^ Math.floor(index / 0x10000)) >>> 0, 8);
  iv.writeUInt16BE(iv.readUInt16BE(12) ^ (index & 0xffff), 12);
  return iv;
}

/** RFC 7714 section 8.1: (0x0000 | ssrc | rollover counter | sequence number) xor salt. */
function gcmRtpIv(iv: Buffer, salt: Buffer, ssrc: number, index: number): Buffer {
  salt.copy(iv);
  iv.writeUInt32BE((iv.readUInt32BE(2) ^ ssrc) >>> 0, 2);
  iv.writeUInt32BE((iv.readUInt32BE(6) ^ Math.floor(index / 0x10000)) >>> 0, 6);
  iv.writeUInt16BE(iv.readUInt16BE(10) ^ (index & 0xffff), 10);
  return iv;
}

/** RFC 7714 section 9.1: (0x0000 | ssrc | 0x0000 | index) xor salt. */
function gcmRtcpIv(salt: Buffer, ssrc: number, index: number): Buffer {
  const iv = Buffer.from(salt);
  iv.writeUInt32BE((iv.readUInt32BE(2) ^ ssrc) >>> 0, 2);
  iv.writeUInt32BE((iv.readUInt32BE(8) ^ index) >>> 0, 8);
  return iv;
}
