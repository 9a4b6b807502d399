import { createWriteStream } from 'node:fs';
import { Transform, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { AppError } from '../errors.ts';

/** The thread that does RTP reads uploads, too: no faster than this. */
const BYTES_PER_SECOND = 32_000_000;
/** It is held back once it is ahead by this much. */
const AHEAD_MS = 50;

/**
 * Writes a file as it comes, within a size and a rate.
 * @param from is left as it is when this rejects, so that a request can be answered
 * @returns its bytes
 * @throws AppError request.tooLarge | request.malformed (empty, or cut off) | job.disk
 */
export async function receiveFile(from: Readable, file: string, maxBytes: number): Promise<number> {
  let bytes = 0;
  const startedAtMs = performance.now();
  const bounded = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      if (bytes > maxBytes) return done(tooLarge(maxBytes));
      const aheadMs = (bytes / BYTES_PER_SECOND) * 1000 - (performance.now() - startedAtMs);
      if (aheadMs < AHEAD_MS) done(null, chunk);
      else setTimeout(() => done(null, chunk), aheadMs);
    },
  });
  const gone = (): void => {
    if (!from.readableEnded) bounded.destroy(cutOff());
  };
  from.once('close', gone).once('error', gone).pipe(bounded);
  try {
    await pipeline(bounded, createWriteStream(file, { flags: 'wx', mode: 0o600, highWaterMark: 2 ** 20 }));
  } catch (thrown) {
    if (thrown instanceof AppError) throw thrown;
    const { code, message } = thrown as NodeJS.ErrnoException;
    if (code === 'ENOSPC' || code === 'EDQUOT') throw new AppError('job.disk', 'The disk of the jobs is full.');
    throw new AppError('file.unwritable', `The file cannot be kept: ${message}`, { cause: thrown });
  } finally {
    from.off('close', gone).off('error', gone).unpipe(bounded);
  }
  if (bytes === 0) throw new AppError('request.malformed', 'The body is empty: it must be the file.');
  return bytes;
}

export function tooLarge(maxBytes: number): AppError {
  return new AppError('request.tooLarge', `The file has more than ${maxBytes} bytes (jobs.maxBytes).`, {
    remedy: 'Send a smaller file, or raise jobs.maxBytes.',
  });
}

function cutOff(): AppError {
  return new AppError('request.malformed', 'The file was cut off on its way.', { remedy: 'Send it again.' });
}
