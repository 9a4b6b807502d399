import { AUDIO_CLOCK_HZ, VIDEO_CLOCK_HZ, type MediaTime, type MonotonicUs } from './types.ts';

const TICKS_PER_SAMPLE = VIDEO_CLOCK_HZ / AUDIO_CLOCK_HZ;
const TICKS_PER_US = VIDEO_CLOCK_HZ / 1_000_000;
/** Packets of B-frames that are compared before the least early one is known: the deepest pattern repeats after a few. */
const COMPARED_PACKETS = 64;

/**
 * Puts the publisher's audio on the video's time line, so that one currency (media time) carries lip sync to the viewers'
 * sender reports. Exact once both tracks have a sender report (RFC 3550 section 6.4.1: both name the same wall clock);
 * until then by arrival. O(1) a packet or report; holds the newest of each.
 *
 * By arrival, sound belongs beside the picture that is decoded with it. A picture that others are presented before arrives
 * earlier than that, by up to the reorder delay; of B-frames at least one arrives when it is due.
 */
export class AudioAlignment {
  #videoReport: { ntpUs: number; mediaTime: MediaTime } | undefined;
  #audioReport: { ntpUs: number; timestamp: number } | undefined;
  /** Media time minus arrival, in ticks: of the newest picture, with B-frames the least of theirs. */
  #lead: number | undefined;
  #latestMediaTime = -Infinity;
  #comparedPackets = 0;
  /** mediaTime = timestamp * 90/48 + offset */
  #offset: number | undefined;
  /** What the offset was made from; undefined: from reports. */
  #offsetLead: number | undefined;

  onVideo(mediaTime: MediaTime, receivedAtUs: MonotonicUs): void {
    const lead = mediaTime - receivedAtUs * TICKS_PER_US;
    const reordered = mediaTime < this.#latestMediaTime;
    this.#latestMediaTime = Math.max(this.#latestMediaTime, mediaTime);
    if (!reordered) {
      if (this.#comparedPackets === 0) this.#lead = lead;
      return;
    }
    if (this.#comparedPackets >= COMPARED_PACKETS) return;
    this.#lead = this.#comparedPackets === 0 ? lead : Math.min(lead, this.#lead ?? lead);
    this.#comparedPackets += 1;
    if (this.#offset === undefined || this.#offsetLead === undefined || lead >= this.#offsetLead) return;
    this.#offset += lead - this.#offsetLead;
    this.#offsetLead = lead;
  }

  /** @param ntpUs the publisher's wall clock, any epoch; @param mediaTime of the report's RTP timestamp */
  onVideoReport(ntpUs: number, mediaTime: MediaTime): void {
    this.#videoReport = { ntpUs, mediaTime };
    this.#align();
  }

  /** @param timestamp the report's RTP timestamp, unwrapped, 48 kHz */
  onAudioReport(ntpUs: number, timestamp: number): void {
    this.#audioReport = { ntpUs, timestamp };
    this.#align();
  }

  /** A new audio or video stream: its clocks have nothing to do with the old ones. */
  restart(track: 'audio' | 'video'): void {
    if (track === 'audio') {
      this.#audioReport = undefined;
      this.#offset = undefined;
      this.#offsetLead = undefined;
    } else {
      this.#videoReport = undefined;
      this.#latestMediaTime = -Infinity;
      this.#comparedPackets = 0;
    }
  }

  /** @param timestamp unwrapped, 48 kHz */
  mediaTimeOf(timestamp: number, receivedAtUs: MonotonicUs): MediaTime {
    if (this.#offset === undefined) {
      if (this.#lead === undefined) return receivedAtUs * TICKS_PER_US;
      this.#offsetLead = this.#lead;
      this.#offset = this.#lead + receivedAtUs * TICKS_PER_US - timestamp * TICKS_PER_SAMPLE;
    }
    return timestamp * TICKS_PER_SAMPLE + this.#offset;
  }

  #align(): void {
    if (this.#videoReport === undefined || this.#audioReport === undefined) return;
    const { ntpUs, mediaTime } = this.#videoReport;
    const atAudio = mediaTime + (this.#audioReport.ntpUs - ntpUs) * TICKS_PER_US;
    this.#offsetLead = undefined;
    this.#offset = atAudio - this.#audioReport.timestamp * TICKS_PER_SAMPLE;
  }
}
