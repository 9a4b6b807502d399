import { AppError } from '../../errors.ts';
import { fetchWithProxy } from './proxy.ts';

/**
 * What a file server says about a file before it is fetched. The Hugging Face hub answers HEAD on
 * /<repository>/resolve/<revision>/<file> with the commit (X-Repo-Commit) and, for large files, size and sha256
 * (X-Linked-Size, X-Linked-ETag) on the redirect to its storage; small files carry a git blob's sha1 as their ETag.
 */
export interface RemoteFile {
  /** For messages: without query, which may hold signatures. */
  readonly label: string;
  readonly url: string;
  readonly bytes: number | undefined;
  /** What the content must hash to. */
  readonly checksum: Checksum | undefined;
  readonly etag: string | undefined;
  readonly commit: string | undefined;
}

export interface Checksum {
  /** `git-blob`: sha1 of "blob <size>\0" and the content. */
  readonly kind: 'sha256' | 'git-blob';
  readonly hex: string;
}

export interface HubOptions {
  readonly endpoint: string;
  /** Sent to the hub itself only, never to where it redirects. */
  readonly token: string | undefined;
}

const MAX_REDIRECTS = 5;
const HEADER_TIMEOUT_MS = 30_000;

export function resolveUrl({ endpoint }: HubOptions, repository: string, revision: string, file: string): string {
  return `${endpoint.replace(/\/+$/, '')}/${repository}/resolve/${encodeURIComponent(revision)}/${file}`;
}

export function labelOf(url: string): string {
  const { origin, pathname } = new URL(url);
  return `${origin}${pathname}`;
}

/**
 * Follows redirects by hand: the token must not leave the origin it is for, and the hub's facts stand on a redirect.
 *
 * @param visit sees every answer on the way; true ends the journey there
 * @throws AppError download.failed
 */
export async function request(
  url: string,
  init: { method: 'GET' | 'HEAD'; headers?: Record<string, string>; token: string | undefined; signal?: AbortSignal },
  visit: (response: Response) => boolean = () => false,
): Promise<Response> {
  const { origin } = new URL(url);
  let place = url;
  for (let hop = 0; hop <= MAX_REDIRECTS; hop += 1) {
    const headers: Record<string, string> = { 'accept-encoding': 'identity', ...init.headers };
    if (init.token !== undefined && new URL(place).origin === origin) headers['authorization'] = `Bearer ${init.token}`;
    const timeout = AbortSignal.timeout(HEADER_TIMEOUT_MS);
    const response = await fetchWithProxy(place, { method: init.method, headers, signal: init.signal ?? timeout });
    const location = response.headers.get('location');
    if (visit(response) || response.status < 300 || response.status >= 400 || location === null) return response;
    await response.body?.cancel();
    place = new URL(location, place).href;
  }
  throw new AppError('download.failed', `${labelOf(url)} redirects more than ${MAX_REDIRECTS} times.`);
}

function unquoted(etag: string | null): string | undefined {
  return etag?.replace(/^W\//, '').replace(/^"|"$/g, '') ?? undefined;
}

function checksumOf(etag: string | undefined): Checksum | undefined {
  if (etag === undefined) return undefined;
  if (/^[0-9a-f]{64}$/.test(etag)) return { kind: 'sha256', hex: etag };
  if (/^[0-9a-f]{40}$/.test(etag)) return { kind: 'git-blob', hex: etag };
  return undefined;
}

/** What an HTTP status means for the one who waits for the file. */
export function statusError(status: number, label: string): AppError {
  const context = { status };
  if (status === 401 || status === 403) {
    return new AppError('download.failed', `${label} needs a permission that this request does not have (${status}).`, {
      context,
      remedy: 'Set HF_TOKEN to an access token that may read the repository, or correct the one that is set.',
    });
  }
  if (status === 404) {
    return new AppError('download.failed', `${label} does not exist (404).`, {
      context,
      remedy: 'Check HF_ENDPOINT and --revision; a mirror may lack this repository.',
    });
  }
  return new AppError('download.failed', `${label} answered with status ${status}.`, { context });
}

/** @throws AppError download.failed; `context.retry` is true when the same request may succeed later */
export async function describe(url: string, token: string | undefined): Promise<RemoteFile> {
  const label = labelOf(url);
  const found: { bytes?: number; etag?: string | undefined; commit?: string | undefined } = {};
  const response = await request(url, { method: 'HEAD', token }, (answer) => {
    const { headers } = answer;
    found.commit ??= headers.get('x-repo-commit') ?? undefined;
    const linked = unquoted(headers.get('x-linked-etag'));
    if (linked === undefined) return false;
    found.etag = linked;
    const size = headers.get('x-linked-size');
    if (size !== null) found.bytes = Number(size);
    // Everything is known here; the storage behind may not even answer HEAD.
    return true;
  });
  await response.body?.cancel();
  if (response.status >= 400) throw statusError(response.status, label);
  const length = response.headers.get('content-length');
  if (found.etag === undefined && length !== null) found.bytes = Number(length);
  const hub = found.commit !== undefined;
  found.etag ??= unquoted(response.headers.get('etag'));
  return {
    label,
    url,
    bytes: found.bytes,
    // Other servers' ETags may look like hashes without being the content's.
    checksum: hub ? checksumOf(found.etag) : undefined,
    etag: found.etag,
    commit: found.commit,
  };
}
