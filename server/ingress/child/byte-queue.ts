import type { AppError } from '../../errors.ts';

/** Bytes that were fetched and are not yet demuxed. */
const MAX_BYTES = 4 * 2 ** 20;

/** Between what fetches and a demuxer: bounded, the fetching side waits. */
export class ByteQueue {
  failure: AppError | undefined;
  #chunks: Buffer[] = [];
  #bytes = 0;
  #ended = false;
  #wakeReader: () => void = () => undefined;
  #wakeWriter: () => void = () => undefined;

  /** Resolves when there is room for more, or after end(). */
  async push(chunk: Buffer): Promise<void> {
    if (this.#ended || chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    this.#wakeReader();
    while (this.#bytes > MAX_BYTES && !this.#ended) await new Promise<void>((resolve) => (this.#wakeWriter = resolve));
  }

  /** Nothing more comes; what is there is still read. */
  end(failure?: AppError): void {
    this.failure ??= failure;
    this.#ended = true;
    this.#wakeReader();
    this.#wakeWriter();
  }

  /** The first bytes, which stay: fewer when no more come. */
  async head(size: number): Promise<Buffer> {
    while (this.#bytes < size && !this.#ended) await new Promise<void>((resolve) => (this.#wakeReader = resolve));
    if (this.#chunks.length > 1) this.#chunks = [Buffer.concat(this.#chunks)];
    return (this.#chunks[0] ?? Buffer.alloc(0)).subarray(0, size);
  }

  /** @returns null at the end */
  async read(size: number): Promise<Buffer | null> {
    while (this.#bytes === 0) {
      if (this.#ended) return null;
      await new Promise<void>((resolve) => (this.#wakeReader = resolve));
    }
    const first = this.#chunks.shift() ?? Buffer.alloc(0);
    const part = first.subarray(0, size);
    if (part.length < first.length) this.#chunks.unshift(first.subarray(size));
    this.#bytes -= part.length;
    if (this.#bytes <= MAX_BYTES) this.#wakeWriter();
    return part;
  }
}
