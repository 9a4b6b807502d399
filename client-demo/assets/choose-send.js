/** @import {SendRow} from './send-table.js' */
import { SEND_TABLE } from './send-table.js';

/**
 * What to send over a line of a given rate, by measurement: size, codec and frame rate whose result came closest to the original
 * at that rate (`npm run bench:bits`, send-table.js). Pure: the page and programs use the same.
 */

/** @typedef {'AV1' | 'H264' | 'VP8' | 'VP9'} SendCodec */
/** What the server does with pictures of a size. @typedef {'resize' | 'mini' | 'nano' | 'nano-x2'} UpscalerName */

/**
 * @typedef {object} SendRequest
 * @property {number} bitrateBps what the line carries of video, RTP headers not counted
 * @property {readonly SendCodec[]} codecs that the sender's machine encodes in real time and the server takes; at least one
 * @property {Readonly<Record<number, UpscalerName>>} upscalers by the short side that is sent; `resize` where nothing is named
 * @property {'camera' | 'screen'} content
 * @property {number} [goal] short side of what is to be looked at; 720 when not known
 * @property {number} [sourceShortSide] of the camera's picture: nothing is scaled up before sending. Absent: large enough
 */

/**
 * @typedef {object} SendChoice
 * @property {number} shortSide of the pictures sent, so portrait is as landscape
 * @property {SendCodec} codec
 * @property {number} framesPerSecond at most
 * @property {number} psnrDb of the result against the original, as measured on the clips of the table: to compare, not to show
 */

/** Rates that a person chooses from, bit/s. */
export const SEND_STOPS_BPS = [30_000, 60_000, 100_000, 150_000, 300_000, 500_000, 800_000, 1_200_000, 1_500_000];

/** Another size or frame rate must be this much better than what is sent now: a change costs a keyframe and is seen. */
const STAY_DB = 0.25;
/** Another codec is a new offer and answer, and seconds of a poor picture. */
const STAY_CODEC_DB = 1;
/** Fluent movement counts for more than PSNR says, which hardly sees a picture that stands: so much for each frame/s less than fluent. */
const STUTTER_DB = 0.1;
const FLUENT_FRAMES_PER_SECOND = 20;
/** Letters of 11 pixels are not to be read any more below. */
const SCREEN_SHORT_SIDE = 360;

/**
 * @param {SendRequest} request
 * @param {SendChoice} [current] what is sent now: it stays while nothing is clearly better
 * @returns {SendChoice}
 * @throws {RangeError} without a codec of the table
 */
export function chooseSend(request, current) {
  const rows = candidates(request);
  const possible = rows.flatMap((row) => {
    const worth = worthOf(row, request.bitrateBps);
    if (worth === -Infinity) return [];
    return [{ row, worth: current && row.codec !== current.codec ? worth - (STAY_CODEC_DB - STAY_DB) : worth }];
  });
  const [first] = possible;
  if (first === undefined) return choiceOf(thriftiest(rows), request);
  const best = possible.reduce((a, b) => (b.worth > a.worth ? b : a), first);
  const now = current && possible.find(({ row }) => isRow(row, current));
  const stays = now !== undefined && best.worth - now.worth < STAY_DB;
  return choiceOf(stays ? now.row : best.row, request);
}

/** Rows that this sender and this server can do, one a size, codec and frame rate. @param {SendRequest} request */
function candidates({ codecs, upscalers, content, goal = 720, sourceShortSide = Infinity }) {
  const { rows } = SEND_TABLE;
  const nearest = rows.reduce((a, b) => (Math.abs(b.goal - goal) < Math.abs(a.goal - goal) ? b : a)).goal;
  const ofKind = rows.filter((row) => row.content === content && row.goal === nearest && codecs.includes(row.codec));
  if (ofKind.length === 0) throw new RangeError(`no measured codec among ${codecs.join(', ') || 'none'}`);
  const least = content === 'screen' ? SCREEN_SHORT_SIDE : 0;
  const large = ofKind.filter((row) => row.shortSide >= least && isAtWork(row));
  const smallest = Math.min(...large.map((row) => row.shortSide));
  return large.filter((row) => row.shortSide <= Math.max(smallest, sourceShortSide));

  /** A model that was not measured at a size is expected to be no worse than a plain resize. @param {SendRow} row */
  function isAtWork({ shortSide, codec, framesPerSecond, upscaler }) {
    const wanted = content === 'screen' ? 'resize' : (upscalers[shortSide] ?? 'resize');
    if (upscaler === wanted || upscaler !== 'resize') return upscaler === wanted;
    const choice = { shortSide, codec, framesPerSecond };
    return !ofKind.some((row) => row.upscaler === wanted && isRow(row, choice));
  }
}

/** @param {SendRow} row @param {Pick<SendChoice, 'shortSide' | 'codec' | 'framesPerSecond'>} choice */
function isRow(row, { shortSide, codec, framesPerSecond }) {
  return row.shortSide === shortSide && row.codec === codec && row.framesPerSecond === framesPerSecond;
}

/**
 * One of a row's curves at a rate, linear in its logarithm; beyond the last rate measured as there. -Infinity below the least rate that
 * the encoder came down to.
 * @param {readonly (number | null)[]} values at the table's rates
 * @param {number} bitrateBps
 */
export function valueAt(values, bitrateBps) {
  const rates = SEND_TABLE.ratesBps;
  const above = rates.findIndex((rate) => rate >= bitrateBps);
  const at = (/** @type {number} */ index) => values[index] ?? -Infinity;
  if (above < 0) return at(rates.length - 1);
  if (above === 0 || rates[above] === bitrateBps) return at(above);
  const [low, high] = [rates[above - 1] ?? 1, rates[above] ?? 1];
  const share = Math.log(bitrateBps / low) / Math.log(high / low);
  const [from, to] = [at(above - 1), at(above)];
  return from === -Infinity ? -Infinity : from + share * (to - from);
}

/** @param {SendRow} row @param {number} bitrateBps */
function worthOf({ psnrDb, shownFps }, bitrateBps) {
  const missing = Math.max(0, FLUENT_FRAMES_PER_SECOND - valueAt(shownFps, bitrateBps));
  return valueAt(psnrDb, bitrateBps) - (missing < Infinity ? missing * STUTTER_DB : 0);
}

/** What gets along with least, on a line too thin for everything. @param {SendRow[]} rows */
function thriftiest(rows) {
  const least = (/** @type {SendRow} */ { psnrDb }) => psnrDb.findIndex((value) => value !== null);
  return rows.reduce((a, b) => (least(b) < least(a) || (least(b) === least(a) && b.shortSide < a.shortSide) ? b : a));
}

/** @param {SendRow} row @param {SendRequest} request @returns {SendChoice} */
function choiceOf(row, { bitrateBps }) {
  const { shortSide, codec, framesPerSecond, psnrDb } = row;
  const known = valueAt(psnrDb, bitrateBps);
  const least = psnrDb.find((value) => value !== null) ?? 0;
  return { shortSide, codec, framesPerSecond, psnrDb: known > -Infinity ? known : least };
}

/**
 * RTCRtpEncodingParameters.scaleResolutionDownBy (at least 1: nothing is scaled up before sending).
 * @param {{width: number, height: number}} picture that the camera gives @param {number} shortSide to send
 */
export function scaleDownBy({ width, height }, shortSide) {
  return Math.max(1, Math.min(width, height) / shortSide);
}

/** IPv4, UDP, RTP with its extensions and SRTP's tag of one packet, and what a packet carries. */
const HEADER_BYTES = 60;
const PAYLOAD_BYTES = 1150;

/**
 * What a line leaves for the pictures themselves: headers cost 14 kbit/s at 30 pictures a second however small they are, which on thin
 * lines is much.
 * @param {number} lineBps what the line carries, as RTCIceCandidatePairStats.availableOutgoingBitrate says
 * @param {number} soundBps with its headers
 * @param {number} framesPerSecond
 * @returns {number} bit/s, for `bitrateBps` of a request
 */
export function videoBitrateBps(lineBps, soundBps = 0, framesPerSecond = 30) {
  const withoutFirst = lineBps - soundBps - framesPerSecond * HEADER_BYTES * 8;
  return Math.max(0, Math.round(withoutFirst / (1 + HEADER_BYTES / PAYLOAD_BYTES)));
}

/**
 * Which model works at each size: the one of the configured scale on small pictures, cheaper ones on larger ones, none where two cores are
 * too slow (the server's ladder of rungs). Models that were not measured count as nano.
 * @param {{superResolution: boolean, label: string, scale: number}} model of the server's `welcome`
 * @returns {Record<number, UpscalerName>}
 */
export function upscalersOf({ superResolution, label, scale }) {
  if (!superResolution) return {};
  if (scale < 4) return { 360: 'nano-x2' };
  return { 180: label.startsWith('mini') ? 'mini' : 'nano', 270: 'mini', 360: 'nano-x2' };
}
