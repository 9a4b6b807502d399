import { STATUS_CODES } from 'node:http';
import { shownTarget } from '../access/target-policy.ts';
import { AppError } from '../errors.ts';
import type { Exchanged } from '../access/exchange.ts';

/** What an answer that is no 201 means, and when the same request makes sense again. */

/** Nothing changes until an operator corrects an address or a right: a target is not bothered with it more often. */
export const REJECTED_RETRY_MS = 60_000;
/** A target that asks for more is asked again all the same. */
const MAX_RETRY_AFTER_MS = 10 * 60_000;
const MAX_DETAIL_CHARACTERS = 200;

/** What a session is for: WHIP publishes, WHEP plays. */
export type Purpose = 'publish' | 'play';

const REMEDIES: Readonly<Record<Purpose, Readonly<Record<number, string>>>> = {
  publish: {
    401: 'Set the bearer token that the target asks for.',
    403: 'Use a bearer token that has the right to publish there.',
    404: 'Check the path of the address: nothing takes WHIP there.',
    405: 'Check the path of the address: nothing takes WHIP there.',
    409: 'Another publisher has the name there; end it, use its bearer token, or another name.',
  },
  play: {
    401: 'Set the bearer token that the target asks for.',
    403: 'Use a bearer token that has the right to play there.',
    404: 'Nothing is published there at present, or the path of the address is wrong.',
    405: 'Check the path of the address: nothing gives WHEP there.',
    406: 'The target answers with an offer of its own, or not with SDP; use an address that takes the offers of players.',
    409: 'Nothing is published there at present.',
  },
};
/** The state of the name, not a mistake: MediaMTX says 404 while nobody publishes, the WHEP draft 409. */
const MAY_CHANGE: Readonly<Record<Purpose, readonly number[]>> = { publish: [409], play: [404, 409] };

export interface Refusal {
  readonly error: AppError;
  /** The next try, not before. */
  readonly retryAfterMs: number;
}

/** @param bearerWithheld a redirect led to another origin, which does not get the bearer token */
export function refusalOf(
  purpose: Purpose,
  url: URL,
  { status, headers, body }: Exchanged,
  bearerWithheld: boolean,
): Refusal {
  const name = shownTarget(url);
  const phrase = STATUS_CODES[status] ?? '';
  const detail = detailOf(body, headers['content-type'] ?? '');
  const answer = `${name} answered ${status}${phrase === '' ? '' : ` ${phrase}`}${detail === '' ? '.' : `: ${detail}`}`;
  const context = { target: name, status };
  const retryAfterMs = retryAfterOf(headers['retry-after']);
  if (status === 429 || (status >= 500 && status <= 599)) {
    return { error: new AppError('target.busy', answer, { context }), retryAfterMs };
  }
  if (status < 300 || status > 499) {
    const message = `${answer} ${purpose === 'play' ? 'WHEP' : 'WHIP'} answers 201.`;
    return { error: new AppError('target.answer', message, { context }), retryAfterMs: REJECTED_RETRY_MS };
  }
  const withheld = (status === 401 || status === 403) && bearerWithheld;
  const remedy = withheld
    ? 'The target redirects to another origin, which does not get the bearer token: use that address in its place.'
    : REMEDIES[purpose][status];
  const error = new AppError('target.rejected', answer, remedy === undefined ? { context } : { context, remedy });
  const soon = MAY_CHANGE[purpose].includes(status);
  return { error, retryAfterMs: soon ? retryAfterMs : Math.max(REJECTED_RETRY_MS, retryAfterMs) };
}

/** Seconds or a date (RFC 9110 section 10.2.3); 0 for anything else. */
export function retryAfterOf(header: string | undefined, nowMs = Date.now()): number {
  if (header === undefined) return 0;
  const text = header.trim();
  const waitMs = /^\d{1,9}$/.test(text) ? Number(text) * 1000 : Date.parse(text) - nowMs;
  return Number.isNaN(waitMs) ? 0 : Math.min(MAX_RETRY_AFTER_MS, Math.max(0, waitMs));
}

/** What the target says about it: `detail` of problem+json (RFC 9457), or a line of text. Printable characters alone. */
function detailOf(body: string, contentType: string): string {
  const type = contentType.split(';')[0]?.trim().toLowerCase() ?? '';
  let text = '';
  if (type === 'text/plain') text = body;
  if (type.endsWith('json')) {
    try {
      const value: unknown = JSON.parse(body);
      const { detail, title, error, message } = (value ?? {}) as Readonly<Record<string, unknown>>;
      text = [detail, message, error, title].find((each) => typeof each === 'string') ?? '';
    } catch {
      return '';
    }
  }
  return text
    .replaceAll(/[^\x20-\x7e]+/g, ' ')
    .trim()
    .slice(0, MAX_DETAIL_CHARACTERS);
}
