/** Packed audio of HLS (RFC 8216 section 3.4), as Apple's tools make it and FFmpeg's muxer does not. */

/** An ID3v2.4 tag with one PRIV frame. @param ticks 1/90000 s modulo 2^33 */
export function timestampTag(ticks: bigint): Buffer {
  const time = Buffer.alloc(8);
  time.writeBigUInt64BE(ticks);
  const content = Buffer.concat([Buffer.from('com.apple.streaming.transportStreamTimestamp\0'), time]);
  const frame = Buffer.concat([Buffer.from('PRIV'), synchsafe(content.length), Buffer.alloc(2), content]);
  return Buffer.concat([Buffer.from('ID3\x04\0\0', 'latin1'), synchsafe(frame.length), frame]);
}

/** Seven bits a byte. */
function synchsafe(size: number): Buffer {
  return Buffer.from([21, 14, 7, 0].map((shift) => (size >> shift) & 0x7f));
}

/** The frames of an ADTS stream (ISO/IEC 14496-3 section 1.A.2.2), headers included. */
export function adtsFrames(stream: Buffer): Buffer[] {
  const frames: Buffer[] = [];
  for (let at = 0; at + 7 <= stream.length;) {
    const size = (stream.readUIntBE(at + 3, 3) >> 5) & 0x1fff;
    frames.push(stream.subarray(at, at + size));
    at += size;
  }
  return frames;
}
