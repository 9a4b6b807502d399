import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, rename, rm, stat, statfs } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { AppError } from '../../errors.ts';
import { request, statusError, type Checksum, type RemoteFile } from './hub.ts';

export interface DownloadOptions {
  readonly token: string | undefined;
  /** Bytes of this file that are here. */
  readonly onProgress: (done: number) => void;
  /** Further tries after a failure that may pass; each goes on where the last one stopped. */
  readonly retries: number;
  readonly retryDelayMs: number;
  /** No byte for this long ends a try. */
  readonly stallMs: number;
}

export const DOWNLOAD_DEFAULTS = { retries: 5, retryDelayMs: 1000, stallMs: 30_000 } as const;

/** Room for other writers besides what is asked for. */
const SPARE_BYTES = 64 * 2 ** 20;

/** @throws AppError download.failed with both numbers */
export async function requireSpace(
  folder: string,
  bytes: number,
  free: (folder: string) => Promise<number> = freeBytes,
): Promise<void> {
  const available = await free(folder);
  if (available >= bytes + SPARE_BYTES) return;
  const mib = (value: number): string => `${Math.ceil(value / 2 ** 20)} MiB`;
  throw new AppError(
    'download.failed',
    `${folder} has ${mib(available)} of free space; the download and the import need ${mib(bytes + SPARE_BYTES)}.`,
    { remedy: 'Free disk space, or choose another folder with --models-dir.', context: { available, needed: bytes } },
  );
}

export async function freeBytes(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

/** Part files carry the version they are of, so that a resume never joins two versions of a file. */
export function partPath(target: string, etag: string | undefined): string {
  const version = createHash('sha256')
    .update(etag ?? 'unknown')
    .digest('hex')
    .slice(0, 12);
  return `${target}.${version}.part`;
}

export async function sizeOf(file: string): Promise<number> {
  try {
    return (await stat(file)).size;
  } catch {
    return 0;
  }
}

/** A failure that may pass by itself: the connection, a busy server. */
class PassingError extends Error {}

/**
 * Fetches one file to `target`, going on with what an earlier run left. The file appears under its name only when it is
 * complete and has the right checksum.
 *
 * @throws AppError download.failed
 */
export async function download(file: RemoteFile, target: string, options: DownloadOptions): Promise<void> {
  if (file.bytes !== undefined && (await sizeOf(target)) === file.bytes && file.checksum !== undefined) {
    if ((await checksumOfFile(target, file.checksum, file.bytes)) === file.checksum.hex) {
      options.onProgress(file.bytes);
      return;
    }
  }
  await mkdir(path.dirname(target), { recursive: true });
  const part = partPath(target, file.etag);
  // Without an ETag nothing says that the rest belongs to the beginning.
  if (file.etag === undefined) await rm(part, { force: true });
  let lastSize = await sizeOf(part);
  let failures = 0;
  while (true) {
    try {
      await fetchRest(file, part, options);
      break;
    } catch (error) {
      if (!isPassing(error)) throw asDownloadError(error, file);
      const size = await sizeOf(part);
      // Only tries that bring nothing count: a bad line may cut often and still get there.
      failures = size > lastSize ? 1 : failures + 1;
      lastSize = size;
      if (failures > options.retries) throw asDownloadError(error, file);
      await delay(options.retryDelayMs * 2 ** Math.min(failures - 1, 4));
    }
  }
  await verify(file, part);
  await rename(part, target);
}

async function fetchRest(file: RemoteFile, part: string, options: DownloadOptions): Promise<void> {
  let start = await sizeOf(part);
  if (file.bytes !== undefined && start > file.bytes) {
    await rm(part);
    start = 0;
  }
  if (file.bytes !== undefined && start === file.bytes && start > 0) {
    options.onProgress(start);
    return;
  }
  const stalled = new AbortController();
  let alarm = setTimeout(() => stalled.abort(), options.stallMs);
  try {
    const headers: Record<string, string> = start > 0 ? { range: `bytes=${start}-` } : {};
    const response = await request(file.url, { method: 'GET', headers, token: options.token, signal: stalled.signal });
    const { status, body } = response;
    if (status === 416) {
      // The server has less than is here: what is here is not what it has.
      await body?.cancel();
      await rm(part, { force: true });
      throw new PassingError(`${file.label} refused to go on at byte ${start}`);
    }
    if (status !== 200 && status !== 206) {
      await body?.cancel();
      if (status === 429 || status >= 500) throw new PassingError(`${file.label} answered with status ${status}`);
      throw statusError(status, file.label);
    }
    const goesOn = status === 206 && contentStart(response) === start;
    if (status === 206 && !goesOn) {
      await body?.cancel();
      await rm(part, { force: true });
      throw new PassingError(`${file.label} sent another range than asked for`);
    }
    if (body === null) throw new PassingError(`${file.label} sent nothing`);
    const out = await open(part, goesOn ? 'a' : 'w');
    let done = goesOn ? start : 0;
    try {
      for await (const chunk of body) {
        clearTimeout(alarm);
        alarm = setTimeout(() => stalled.abort(), options.stallMs);
        await out.write(chunk as Uint8Array);
        done += (chunk as Uint8Array).byteLength;
        options.onProgress(done);
      }
      await out.sync();
    } finally {
      await out.close();
    }
    if (file.bytes !== undefined && done < file.bytes) {
      throw new PassingError(`${file.label} ended after ${done} of ${file.bytes} bytes`);
    }
  } finally {
    clearTimeout(alarm);
  }
}

function contentStart(response: Response): number | undefined {
  const match = /^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '');
  return match === null ? undefined : Number(match[1]);
}

const SYSTEM_ERRORS = new Set(['ENOSPC', 'EDQUOT', 'EACCES', 'EPERM', 'EROFS', 'EIO', 'EFBIG']);

function systemCode(error: unknown): string | undefined {
  const { code } = error as { code?: unknown };
  return typeof code === 'string' && SYSTEM_ERRORS.has(code) ? code : undefined;
}

function isPassing(error: unknown): boolean {
  return !(error instanceof AppError) && systemCode(error) === undefined;
}

function asDownloadError(error: unknown, { label }: RemoteFile): AppError {
  if (error instanceof AppError) return error;
  const { message, cause } = error as Error;
  const detail = cause instanceof Error ? `${message} (${cause.message})` : message;
  const full = systemCode(error) === 'ENOSPC' || systemCode(error) === 'EDQUOT';
  return new AppError('download.failed', `${label} could not be fetched: ${detail}.`, {
    cause: error,
    ...(full ? { remedy: 'Free disk space and run the command again: it resumes.' } : {}),
  });
}

/** A bad part is deleted: resuming it would fail again each time. */
async function verify(file: RemoteFile, part: string): Promise<void> {
  const size = await sizeOf(part);
  const fail = async (reason: string): Promise<never> => {
    await rm(part, { force: true });
    throw new AppError('download.failed', `${file.label} ${reason}; what was fetched is deleted.`, {
      remedy: 'Run the command again; if it repeats, use another mirror (HF_ENDPOINT).',
    });
  };
  if (file.bytes !== undefined && size !== file.bytes) return fail(`has ${size} bytes instead of ${file.bytes}`);
  if (file.checksum === undefined) return;
  const is = await checksumOfFile(part, file.checksum, size);
  if (is !== file.checksum.hex) await fail(`has the ${file.checksum.kind} ${is} instead of ${file.checksum.hex}`);
}

async function checksumOfFile(file: string, { kind }: Checksum, bytes: number): Promise<string> {
  const hash: Hash = kind === 'sha256' ? createHash('sha256') : createHash('sha1').update(`blob ${bytes}\0`);
  for await (const chunk of createReadStream(file, { highWaterMark: 2 ** 20 })) hash.update(chunk as Uint8Array);
  return hash.digest('hex');
}

export async function sha256OfFile(
  file: string,
  onProgress: (done: number) => void = () => undefined,
): Promise<string> {
  const hash = createHash('sha256');
  let done = 0;
  for await (const chunk of createReadStream(file, { highWaterMark: 2 ** 20 })) {
    hash.update(chunk as Uint8Array);
    done += (chunk as Uint8Array).byteLength;
    onProgress(done);
  }
  return hash.digest('hex');
}
