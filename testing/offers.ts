import { readFileSync, readdirSync } from 'node:fs';

/**
 * Offers as clients made them (testdata/sdp): `whip-` to publish, `whep-` to watch, the client's name and version behind, and
 * the examples of RFC 9725 and of the WHEP draft.
 */
const FOLDER = new URL('../testdata/sdp/', import.meta.url);

/** @param name without .sdp; lines end in CR LF as on the wire */
export function offerText(name: string): string {
  return readFileSync(new URL(`${name}.sdp`, FOLDER), 'utf8').replaceAll('\n', '\r\n');
}

export function offerNames(): readonly string[] {
  return readdirSync(FOLDER).map((file) => file.replace(/\.sdp$/, ''));
}

/** Audio and video to send. */
export const CHROMIUM_PUBLISH = offerText('whip-chromium156');
/** Two videos and audio to receive. */
export const CHROMIUM_WATCH = offerText('whep-chromium156');
