/** Rates out of the running totals of RTCPeerConnection.getStats() (W3C webrtc-stats). */

/**
 * @typedef {object} Uplink
 * @property {number} bitrateBps video and audio, RTP headers and retransmissions included
 * @property {number} width
 * @property {number} height
 * @property {number} fps
 * @property {number | undefined} sourceFps pictures a second that the encoder was given; undefined: the browser does not say
 * @property {string} codec
 * @property {number | undefined} availableBps what the browser estimates the line to carry; undefined: it does not say
 * @property {number} audioBps what sound takes of the line, with all headers
 * @property {number} lossRatio 0..1 of the packets of video, as the server reported last
 * @property {string} limitation `none`, `bandwidth`, `cpu` or `other`
 * @property {number | null} roundTripMs
 */

/**
 * @typedef {object} Downlink
 * @property {number} bitrateBps
 * @property {number} width
 * @property {number} height
 * @property {number} fps
 * @property {string} codec
 * @property {number} framesDropped by the browser, since the start
 * @property {number} packetsLost
 * @property {number | null} roundTripMs
 * @property {number | null} bufferMs mean wait in the browser's jitter buffer over the last interval
 */

/** IPv4, UDP and SRTP's tag of one packet, which browsers do not count: as much again as sound itself at 16 kbit/s. */
const LOWER_HEADER_BYTES = 38;

/** One reading every time it is called; rates are over the time since the call before. */
export class RtpRates {
  /** @type {Map<string, {atMs: number, bytes: number, delay: number, emitted: number}>} */
  #before = new Map();

  /**
   * @param {Iterable<any>} report the values of an RTCStatsReport
   * @returns {Uplink}
   */
  uplink(report) {
    const all = [...report];
    const byId = new Map(all.map((entry) => [entry.id, entry]));
    let bitrateBps = 0;
    let audioBps = 0;
    for (const entry of all) {
      if (entry.type !== 'outbound-rtp') continue;
      const bps = this.#bitrate(entry, entry.bytesSent, entry.headerBytesSent);
      bitrateBps += bps;
      if (entry.kind !== 'audio') continue;
      const { id, timestamp, packetsSent } = entry;
      audioBps += bps + this.#bitrate({ id: `${id} below RTP`, timestamp }, 0, LOWER_HEADER_BYTES * (packetsSent ?? 0));
    }
    const remote = all.find((entry) => entry.type === 'remote-inbound-rtp' && entry.kind === 'video');
    const video = all.find((entry) => entry.type === 'outbound-rtp' && entry.kind === 'video');
    return {
      bitrateBps,
      width: video?.frameWidth ?? 0,
      height: video?.frameHeight ?? 0,
      fps: video?.framesPerSecond ?? 0,
      sourceFps: all.find((entry) => entry.type === 'media-source' && entry.kind === 'video')?.framesPerSecond,
      codec: codecName(byId, video),
      availableBps: activePair(all)?.availableOutgoingBitrate,
      audioBps,
      lossRatio: remote?.fractionLost ?? 0,
      limitation: video?.qualityLimitationReason ?? 'none',
      roundTripMs: roundTripMs(all),
    };
  }

  /**
   * @param {Iterable<any>} report
   * @param {string | undefined} trackId of the result's receiver
   * @returns {Downlink}
   */
  downlink(report, trackId) {
    const all = [...report];
    const byId = new Map(all.map((entry) => [entry.id, entry]));
    const inbound = all.filter((entry) => entry.type === 'inbound-rtp');
    const video = inbound.find((entry) => entry.kind === 'video' && entry.trackIdentifier === trackId);
    const before = this.#before.get(video?.id);
    let bitrateBps = 0;
    for (const entry of inbound) bitrateBps += this.#bitrate(entry, entry.bytesReceived, entry.headerBytesReceived);
    const emitted = (video?.jitterBufferEmittedCount ?? 0) - (before?.emitted ?? 0);
    const delay = (video?.jitterBufferDelay ?? 0) - (before?.delay ?? 0);
    return {
      bitrateBps,
      width: video?.frameWidth ?? 0,
      height: video?.frameHeight ?? 0,
      fps: video?.framesPerSecond ?? 0,
      codec: codecName(byId, video),
      framesDropped: video?.framesDropped ?? 0,
      packetsLost: inbound.reduce((sum, entry) => sum + Math.max(0, entry.packetsLost ?? 0), 0),
      roundTripMs: roundTripMs(all),
      bufferMs: emitted > 0 ? (delay / emitted) * 1000 : null,
    };
  }

  /** @param {any} entry @param {number} payload @param {number | undefined} headers */
  #bitrate(entry, payload, headers) {
    const bytes = (payload ?? 0) + (headers ?? 0);
    const before = this.#before.get(entry.id);
    this.#before.set(entry.id, {
      atMs: entry.timestamp,
      bytes,
      delay: entry.jitterBufferDelay ?? 0,
      emitted: entry.jitterBufferEmittedCount ?? 0,
    });
    if (before === undefined || entry.timestamp <= before.atMs) return 0;
    return Math.max(0, ((bytes - before.bytes) * 8 * 1000) / (entry.timestamp - before.atMs));
  }
}

/** @param {Map<string, any>} byId @param {any} rtp */
function codecName(byId, rtp) {
  return String(byId.get(rtp?.codecId)?.mimeType ?? '').replace(/^video\//, '');
}

/** Pairs of before, from which the path has moved, stay nominated and have no estimate. @param {any[]} all */
function activePair(all) {
  const selected = all.find((entry) => entry.type === 'transport')?.selectedCandidatePairId;
  const pairs = all.filter(
    (entry) => entry.type === 'candidate-pair' && entry.nominated && entry.state === 'succeeded',
  );
  return pairs.find(({ id }) => id === selected) ?? pairs[0];
}

/** @param {any[]} all */
function roundTripMs(all) {
  const pair = activePair(all);
  return pair?.currentRoundTripTime === undefined ? null : pair.currentRoundTripTime * 1000;
}
