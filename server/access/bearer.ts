import { createHash, timingSafeEqual } from 'node:crypto';
import { AppError } from '../errors.ts';

/** JSON Web Tokens have some hundred characters, with many claims a few thousand. */
const MAX_CHARACTERS = 4096;

/** @returns the token of `Authorization: Bearer` (RFC 6750 section 2.1). @throws AppError request.malformed */
export function bearerOf(authorization: string | undefined): string | undefined {
  if (authorization === undefined) return undefined;
  const token = /^bearer +([\w\-.~+/]+=*) *$/i.exec(authorization.slice(0, MAX_CHARACTERS + 16))?.[1];
  if (token === undefined || token.length > MAX_CHARACTERS) {
    throw new AppError(
      'request.malformed',
      `Authorization is not "Bearer" with one token of at most ${MAX_CHARACTERS} letters, digits and -._~+/=.`,
    );
  }
  return token;
}

/** Whether text is what `Authorization: Bearer` can carry. */
export function isToken(text: string): boolean {
  return text.length <= MAX_CHARACTERS && /^[\w\-.~+/]+=*$/.test(text);
}

/** The digest that is kept of a token. */
export function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

/** A session that was made with a token takes its requests with that token alone. @throws AppError request.unauthorized | request.forbidden */
export function checkBearer(expected: Buffer | undefined, token: string | undefined): void {
  if (expected === undefined) return;
  if (token === undefined) {
    throw new AppError('request.unauthorized', 'The session was made with a bearer token; this request has none.');
  }
  if (!timingSafeEqual(digestOf(token), expected)) {
    throw new AppError('request.forbidden', 'The bearer token is not the one that made the session.', {
      remedy: 'Send the bearer token that the session was made with.',
    });
  }
}
