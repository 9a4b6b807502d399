import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

export interface StaticFile {
  readonly body: Buffer;
  readonly type: string;
  /** Strong validator (RFC 9110 section 8.8.3): the content's hash. */
  readonly etag: string;
}

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.jpg': 'image/jpeg',
  '.mp4': 'video/mp4',
  '.webmanifest': 'application/manifest+json',
};

export function staticFile(body: Buffer, type: string): StaticFile {
  const hash = createHash('sha256').update(body).digest('base64url').slice(0, 22);
  return { body, type, etag: `"${hash}"` };
}

/** Reads one file into memory. */
export function readStaticFile(file: string): StaticFile {
  return staticFile(readFileSync(file), TYPES[path.extname(file)] ?? 'application/octet-stream');
}

/** The files of known types directly in a folder, by name. A name that is not a key is not served: nothing to traverse. */
export function readStaticFolder(folder: string): ReadonlyMap<string, StaticFile> {
  const names = readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isFile() && TYPES[path.extname(entry.name)] !== undefined)
    .map((entry) => entry.name);
  return new Map(names.map((name) => [name, readStaticFile(path.join(folder, name))]));
}

export interface ConditionalHeaders {
  readonly 'if-none-match'?: string | undefined;
  readonly 'if-range'?: string | undefined;
  readonly range?: string | undefined;
}

export type StaticAnswer =
  | { readonly status: 200; readonly body: Buffer }
  | { readonly status: 206; readonly body: Buffer; readonly contentRange: string }
  | { readonly status: 304 }
  | { readonly status: 416; readonly contentRange: string };

export function answerStatic({ body, etag }: StaticFile, headers: ConditionalHeaders): StaticAnswer {
  const part = selectPart(headers, etag, body.length);
  if (part.status === 200) return { status: 200, body };
  if (part.status !== 206) return part;
  return { status: 206, body: body.subarray(part.first, part.last + 1), contentRange: part.contentRange };
}

/** Which bytes of a file answer a request; `first` and `last` inclusive. */
export type SelectedPart =
  | { readonly status: 200 }
  | { readonly status: 304 }
  | { readonly status: 206; readonly first: number; readonly last: number; readonly contentRange: string }
  | { readonly status: 416; readonly contentRange: string };

/**
 * RFC 9110 sections 13.2.2 and 14.2: validators first, then one byte range. Several ranges in one request are answered with
 * the whole file, which the section allows, so that a request never costs more than the file.
 */
export function selectPart(headers: ConditionalHeaders, etag: string, size: number): SelectedPart {
  if (matches(headers['if-none-match'], etag)) return { status: 304 };
  const ifRange = headers['if-range'];
  if (headers.range === undefined || (ifRange !== undefined && ifRange !== etag)) return { status: 200 };
  const range = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(headers.range.replaceAll(' ', ''));
  // Another unit, several ranges or none: a server may ignore the header (section 14.2).
  if (range === null || (range[1] === '' && range[2] === '')) return { status: 200 };
  const [first, last] = boundsOf(range[1] ?? '', range[2] ?? '', size);
  if (first >= size || last < first) return { status: 416, contentRange: `bytes */${size}` };
  return { status: 206, first, last, contentRange: `bytes ${first}-${last}/${size}` };
}

/** `4-7`, `4-` (to the end) or `-4` (the last four), inclusive. */
function boundsOf(first: string, last: string, size: number): [first: number, last: number] {
  if (first === '') return [Math.max(0, size - Number(last)), Number(last) === 0 ? -1 : size - 1];
  return [Number(first), last === '' ? size - 1 : Math.min(Number(last), size - 1)];
}

function matches(ifNoneMatch: string | undefined, etag: string): boolean {
  if (ifNoneMatch === undefined) return false;
  return ifNoneMatch.split(',').some((each) => each.trim() === '*' || each.trim().replace(/^W\//, '') === etag);
}
