import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import type { Packet } from 'node-av/lib';

/**
 * Encoded pictures of a finished stretch of a film, on the disk: a 32-byte head (what the encoder is), then each packet in decoding
 * order (pts, dts, duration: int64; flags, bytes: uint32; data), then an empty packet whose pts is the number of packets and whose
 * dts is the CRC-32 of all before it. Little-endian.
 */

const HEAD_BYTES = 32;
const RECORD_BYTES = 32;

export interface KeptPacket {
  /** In the source's time base. */
  readonly pts: bigint;
  readonly dts: bigint;
  readonly duration: bigint;
  readonly flags: number;
  readonly data: Buffer;
}

/** finish() gives it another name, so that a file of that name is complete whatever ends the process. */
export class SegmentWriter {
  readonly #handle: FileHandle;
  readonly #file: string;
  #packets = 0;
  #crc: number;
  bytes = HEAD_BYTES;

  private constructor(handle: FileHandle, file: string, head: Buffer) {
    this.#handle = handle;
    this.#file = file;
    this.#crc = crc32(head);
  }

  /** @param head HEAD_BYTES that say which encoder makes the packets @throws the system's errors, as all of these do */
  static async create(file: string, head: Buffer): Promise<SegmentWriter> {
    const handle = await open(file, 'w');
    const writer = new SegmentWriter(handle, file, head);
    await handle.writeFile(head);
    return writer;
  }

  async add({
    pts,
    dts,
    duration,
    flags,
    data,
  }: Pick<Packet, 'pts' | 'dts' | 'duration' | 'flags' | 'data'>): Promise<void> {
    const content = data ?? Buffer.alloc(0);
    await this.#write(record(pts, dts, duration, flags, content.length));
    await this.#write(content);
    this.#packets += 1;
  }

  /** @param name by the number of packets */
  async finish(name: (packets: number) => string): Promise<void> {
    await this.#handle.writeFile(record(BigInt(this.#packets), BigInt(this.#crc), 0n, 0, 0));
    // Before the name: after a power failure a file of the name is whole.
    await this.#handle.datasync();
    await this.#handle.close();
    await rename(this.#file, name(this.#packets));
  }

  async discard(): Promise<void> {
    await this.#handle.close();
    await rm(this.#file, { force: true });
  }

  async #write(bytes: Buffer): Promise<void> {
    this.#crc = crc32(bytes, this.#crc);
    this.bytes += bytes.length;
    await this.#handle.writeFile(bytes);
  }
}

/** @returns undefined for a file that is damaged or not one of these */
export async function segmentHead(
  file: string,
): Promise<{ readonly head: Buffer; readonly packets: number } | undefined> {
  let crc = 0;
  let packets = 0;
  let head: Buffer | undefined;
  for await (const { bytes, end, isPacket } of parts(file)) {
    if (end !== undefined)
      return head !== undefined && end.packets === packets && end.crc === crc ? { head, packets } : undefined;
    crc = crc32(bytes, crc);
    if (isPacket) packets += 1;
    head ??= bytes;
  }
  return undefined;
}

/** In decoding order, one at a time in memory. */
export async function* readSegment(file: string): AsyncGenerator<KeptPacket, void, undefined> {
  let times: Omit<KeptPacket, 'data'> | undefined;
  for await (const { bytes, isPacket } of parts(file)) {
    if (isPacket && times !== undefined) yield { ...times, data: bytes };
    else if (bytes.length === RECORD_BYTES) {
      const [pts, dts, duration] = [0, 8, 16].map((at) => bytes.readBigInt64LE(at)) as [bigint, bigint, bigint];
      times = { pts, dts, duration, flags: bytes.readUInt32LE(24) };
    }
  }
}

interface Part {
  readonly bytes: Buffer;
  readonly isPacket: boolean;
  readonly end?: { readonly packets: number; readonly crc: number };
}

/** The head, then records and packets; the last one has `end`. Ends early where the file does. */
async function* parts(file: string): AsyncGenerator<Part, void, undefined> {
  const handle = await open(file, 'r');
  try {
    const { size } = await handle.stat();
    const next = async (length: number): Promise<Buffer | undefined> => {
      // A damaged length must not ask for more memory than the file could fill.
      if (length > size) return undefined;
      const bytes = Buffer.alloc(length);
      let read = 0;
      while (read < length) {
        const { bytesRead } = await handle.read(bytes, read, length - read);
        if (bytesRead === 0) return undefined;
        read += bytesRead;
      }
      return bytes;
    };
    const head = await next(HEAD_BYTES);
    if (head === undefined) return;
    yield { bytes: head, isPacket: false };
    for (;;) {
      const header = await next(RECORD_BYTES);
      if (header === undefined) return;
      const length = header.readUInt32LE(28);
      if (length === 0) {
        const end = { packets: Number(header.readBigInt64LE(0)), crc: Number(header.readBigInt64LE(8)) };
        yield { bytes: header, isPacket: false, end };
        return;
      }
      yield { bytes: header, isPacket: false };
      const data = await next(length);
      if (data === undefined) return;
      yield { bytes: data, isPacket: true };
    }
  } finally {
    await handle.close();
  }
}

function record(pts: bigint, dts: bigint, duration: bigint, flags: number, length: number): Buffer {
  const header = Buffer.alloc(RECORD_BYTES);
  header.writeBigInt64LE(pts, 0);
  header.writeBigInt64LE(dts, 8);
  header.writeBigInt64LE(duration, 16);
  header.writeUInt32LE(flags, 24);
  header.writeUInt32LE(length, 28);
  return header;
}
