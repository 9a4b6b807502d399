import { AppError } from '../errors.ts';

/** The protocol's own messages nest four levels (`list` inside `stats`); a client that nests deeper is not ours. */
export const MAX_JSON_DEPTH = 32;

/**
 * JSON.parse for text of strangers. Depth is counted before anything is built, because whatever walks a deep value later by
 * recursion (JSON.stringify, a schema, a logger) ends in a RangeError. Cost: one pass over the text; its length is the
 * caller's to bound.
 * @throws AppError request.malformed for text that is no JSON or nests too deep
 */
export function parseBoundedJson(text: string): unknown {
  if (nestsDeeperThan(text, MAX_JSON_DEPTH)) {
    throw new AppError('request.malformed', `The message nests deeper than ${MAX_JSON_DEPTH} levels.`);
  }
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw new AppError('request.malformed', 'The message is not JSON.');
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** Brackets outside of strings (RFC 8259 section 7: a quote ends a string unless a backslash precedes it). */
function nestsDeeperThan(text: string, most: number): boolean {
  let depth = 0;
  let inString = false;
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (inString) {
      if (code === BACKSLASH) index += 1;
      else if (code === QUOTE) inString = false;
    } else if (code === QUOTE) {
      inString = true;
    } else if (code === OPEN_ARRAY || code === OPEN_OBJECT) {
      depth += 1;
      if (depth > most) return true;
    } else if (code === CLOSE_ARRAY || code === CLOSE_OBJECT) {
      depth -= 1;
    }
  }
  return false;
}
