/** RTP packets (RFC 3550 section 5.1) and header extensions (RFC 8285), as views on the received bytes. */

export const RTP_HEADER_BYTES = 12;
/**
 * Each extension that is looked for costs one walk over the block. Six one-byte extensions have 40 bytes; a packet with a
 * block beyond this is refused: it would make small media expensive.
 */
export const MAX_EXTENSION_BYTES = 1024;

export interface RtpPacket {
  readonly marker: boolean;
  readonly payloadType: number;
  readonly sequenceNumber: number;
  readonly timestamp: number;
  readonly ssrc: number;
  /** Without padding; a view on the packet. Empty for padding-only probes. */
  readonly payload: Buffer;
  /** RFC 8285 extension block without its 4 byte header, or undefined. */
  readonly extensions: Buffer | undefined;
  readonly twoByteExtensions: boolean;
}

/** @returns undefined for anything that is not a well-formed RTP packet; never throws */
export function parseRtp(data: Buffer): RtpPacket | undefined {
  if (data.length < RTP_HEADER_BYTES) return undefined;
  const first = data[0] as number;
  if (first >> 6 !== 2) return undefined;
  let offset = RTP_HEADER_BYTES + (first & 0x0f) * 4;
  let extensions: Buffer | undefined;
  let twoByteExtensions = false;
  if ((first & 0x10) !== 0) {
    if (data.length < offset + 4) return undefined;
    const profile = data.readUInt16BE(offset);
    const length = data.readUInt16BE(offset + 2) * 4;
    offset += 4;
    if (length > MAX_EXTENSION_BYTES || data.length < offset + length) return undefined;
    twoByteExtensions = (profile & 0xfff0) === 0x1000;
    if (profile === 0xbede || twoByteExtensions) extensions = data.subarray(offset, offset + length);
    offset += length;
  }
  let end = data.length;
  if ((first & 0x20) !== 0) end -= data[end - 1] as number;
  if (end < offset || ((first & 0x20) !== 0 && end === data.length)) return undefined;
  const second = data[1] as number;
  return {
    marker: second >= 0x80,
    payloadType: second & 0x7f,
    sequenceNumber: data.readUInt16BE(2),
    timestamp: data.readUInt32BE(4),
    ssrc: data.readUInt32BE(8),
    payload: data.subarray(offset, end),
    extensions,
    twoByteExtensions,
  };
}

/** The value of one header extension, or undefined. Malformed blocks are read as far as possible; linear in the block. */
export function findExtension(packet: RtpPacket, id: number): Buffer | undefined {
  const block = packet.extensions;
  if (block === undefined) return undefined;
  for (let offset = 0; offset < block.length;) {
    const byte = block[offset] as number;
    if (byte === 0) {
      offset += 1; // padding
      continue;
    }
    let length: number;
    let current: number;
    if (packet.twoByteExtensions) {
      if (offset + 1 >= block.length) return undefined;
      current = byte;
      length = block[offset + 1] as number;
      offset += 2;
    } else {
      current = byte >> 4;
      if (current === 15) return undefined;
      length = (byte & 0x0f) + 1;
      offset += 1;
    }
    if (offset + length > block.length) return undefined;
    if (current === id) return block.subarray(offset, offset + length);
    offset += length;
  }
  return undefined;
}

export interface RtpHeaderFields {
  readonly marker: boolean;
  readonly payloadType: number;
  /** Only the low 16 bits are sent. */
  readonly sequenceNumber: number;
  /** Only the low 32 bits are sent. */
  readonly timestamp: number;
  readonly ssrc: number;
}

/** One-byte header extensions (RFC 8285 section 4.2), each 1 to 16 bytes. */
export interface RtpExtension {
  readonly id: number;
  readonly value: Uint8Array;
}

/** The header alone: 12 bytes, or more with extensions, always a multiple of 4. */
export function buildRtpHeader(fields: RtpHeaderFields, extensions: readonly RtpExtension[] = []): Buffer {
  let extensionBytes = 0;
  for (const extension of extensions) extensionBytes += 1 + extension.value.length;
  const paddedBytes = (extensionBytes + 3) & ~3;
  const header = Buffer.alloc(RTP_HEADER_BYTES + (extensionBytes === 0 ? 0 : 4 + paddedBytes));
  header[0] = extensionBytes === 0 ? 0x80 : 0x90;
  header[1] = (fields.marker ? 0x80 : 0) | fields.payloadType;
  header.writeUInt16BE(fields.sequenceNumber & 0xffff, 2);
  header.writeUInt32BE(low32(fields.timestamp), 4);
  header.writeUInt32BE(fields.ssrc, 8);
  if (extensionBytes > 0) {
    header.writeUInt16BE(0xbede, 12);
    header.writeUInt16BE(paddedBytes / 4, 14);
    let offset = 16;
    for (const extension of extensions) {
      header[offset] = (extension.id << 4) | (extension.value.length - 1);
      header.set(extension.value, offset + 1);
      offset += 1 + extension.value.length;
    }
  }
  return header;
}

/** The low 32 bits of an integer of any sign up to 2^53. */
export function low32(value: number): number {
  const rest = value % 0x1_0000_0000;
  return rest < 0 ? rest + 0x1_0000_0000 : rest;
}
