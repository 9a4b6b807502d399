/**
 * Which picture of one track is which of the other. Both carry the publisher's media time as RTP timestamp plus a
 * random offset (RFC 3550 section 5.1). This server uses one offset for both; with any other the difference between the
 * tracks is one unknown constant, found here.
 */

/** @typedef {{rtp: number, shownMs: number}} ShownFrame */

const MODULUS = 2 ** 32;
/** Of the frames that could match, so many must: a wrong constant fits a few by chance. */
const MIN_SHARE = 0.5;
const MIN_MATCHES = 8;
/** Constants that fit nearly as well: a source of perfectly even pace fits also when shifted by a frame. */
const NEARLY = 0.8;

/** @param {number} a @param {number} b RTP timestamps @returns {number} a - b, 0..2^32-1 */
export function rtpDifference(a, b) {
  return (((a - b) % MODULUS) + MODULUS) % MODULUS;
}

/**
 * @param {readonly ShownFrame[]} source
 * @param {readonly ShownFrame[]} result
 * @param {number} expectedLagMs how much later the result should be shown; decides between constants that fit alike
 * @returns {number | undefined} result's timestamp - source's timestamp of the same picture
 */
export function findOffset(source, result, expectedLagMs) {
  /** @type {Map<number, {count: number, lagMs: number}>} */
  const fits = new Map();
  for (const shown of result) {
    for (const sent of source) {
      const offset = rtpDifference(shown.rtp, sent.rtp);
      const fit = fits.get(offset) ?? { count: 0, lagMs: 0 };
      fit.count += 1;
      fit.lagMs += shown.shownMs - sent.shownMs;
      fits.set(offset, fit);
    }
  }
  const most = Math.max(0, ...[...fits.values()].map(({ count }) => count));
  if (most < MIN_MATCHES || most < MIN_SHARE * Math.min(source.length, result.length)) return undefined;
  /** @type {[number, number] | undefined} */
  let best;
  for (const [offset, { count, lagMs }] of fits) {
    const distance = Math.abs(lagMs / count - expectedLagMs);
    if (count >= NEARLY * most && (best === undefined || distance < best[1])) best = [offset, distance];
  }
  return best?.[0];
}

/**
 * Result minus source for every picture seen in both.
 * @param {readonly ShownFrame[]} source
 * @param {readonly ShownFrame[]} result
 * @param {number} offset
 * @returns {number[]} ms
 */
export function lagsMs(source, result, offset) {
  const shownAt = new Map(source.map(({ rtp, shownMs }) => [rtp, shownMs]));
  return result.flatMap(({ rtp, shownMs }) => {
    const sourceMs = shownAt.get(rtpDifference(rtp, offset));
    return sourceMs === undefined ? [] : [shownMs - sourceMs];
  });
}

/** @param {readonly number[]} values */
export function median(values) {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}
