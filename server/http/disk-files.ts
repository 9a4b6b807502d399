import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { AppError } from '../errors.ts';
import { sendError } from './errors.ts';
import { selectPart } from './static-files.ts';

export interface DiskFile {
  readonly path: string;
  readonly type: string;
  /** Cache-Control. */
  readonly cache: string;
  /** The name under which a browser saves it. */
  readonly saveAs?: string;
  /** Told what a thin line needs for the part that is sent. */
  readonly mayLast?: (ms: number) => void;
}

/** A client that reads slower than this is cut, bytes/s: 1 GB may take four and a half hours. */
const LEAST_BYTES_PER_SECOND = 64_000;
const BESIDE_MS = 45_000;

/**
 * Sends a file of the server's own making, whole or one range of it. What is not an ordinary file is not there: links lead
 * elsewhere, pipes block. A client that does not read keeps one descriptor until its connection's idle time is over.
 */
export async function sendDiskFile(
  request: FastifyRequest,
  reply: FastifyReply,
  file: DiskFile,
): Promise<FastifyReply> {
  const handle = await openOrdinary(file.path);
  if (handle === undefined) throw new AppError('request.notFound', 'There is no such file (any more).');
  let passed = false;
  try {
    const { size, mtimeMs, ino } = await handle.stat();
    const etag = `"${ino.toString(36)}-${size.toString(36)}-${Math.round(mtimeMs).toString(36)}"`;
    const part = selectPart(request.headers, etag, size);
    if (part.status === 416) {
      reply.header('Content-Range', part.contentRange);
      return await sendError(reply, new AppError('request.range', `The file has ${size} bytes.`));
    }
    reply.code(part.status).headers({ 'Content-Type': file.type, 'Cache-Control': file.cache, ETag: etag });
    reply.header('Accept-Ranges', 'bytes');
    // Names of recordings hold no quote and no character outside ASCII.
    if (file.saveAs !== undefined) reply.header('Content-Disposition', `attachment; filename="${file.saveAs}"`);
    if (part.status === 304 || size === 0) return await reply.send();
    if (part.status === 206) reply.header('Content-Range', part.contentRange);
    const { first, last } = part.status === 206 ? part : { first: 0, last: size - 1 };
    reply.header('Content-Length', last - first + 1);
    // fastify leaves a stream's length alone, and reads it to its end.
    if (request.method === 'HEAD') return await reply.send(Readable.from([]));
    passed = true;
    file.mayLast?.(BESIDE_MS + ((last - first + 1) / LEAST_BYTES_PER_SECOND) * 1000);
    // A file that grows is sent as long as it was when it was opened.
    return await reply.send(handle.createReadStream({ start: first, end: last }));
  } finally {
    if (!passed) await handle.close();
  }
}

/** A small file of the server's own making, as text. @throws AppError request.notFound when it is not there, or larger */
export async function readDiskFile(path: string, maxBytes: number): Promise<string> {
  const handle = await openOrdinary(path);
  try {
    if (handle !== undefined && (await handle.stat()).size <= maxBytes) return await handle.readFile('utf8');
  } finally {
    await handle?.close();
  }
  throw new AppError('request.notFound', 'There is no such file (any more).');
}

async function openOrdinary(path: string): Promise<FileHandle | undefined> {
  let handle: FileHandle;
  try {
    handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch {
    return undefined;
  }
  if ((await handle.stat()).isFile()) return handle;
  await handle.close();
  return undefined;
}
