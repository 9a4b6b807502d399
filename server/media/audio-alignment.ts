import { AUDIO_CLOCK_HZ, VIDEO_CLOCK_HZ, type MediaTime, type MonotonicUs } from './types.ts';

const TICKS_PER_SAMPLE = VIDEO_CLOCK_HZ / AUDIO_CLOCK_HZ;
const TICKS_PER_US = VIDEO_CLOCK_HZ / 1_000_000;

/**
 * Puts the publisher's audio on the video's time line, so that one currency (media time) carries lip sync to the viewers'
 * sender reports. Exact once both tracks have a sender report (RFC 3550 section 6.4.1: both name the same wall clock);
 * until then by arrival. O(1) a packet or report; holds the newest of each.
 */
export class AudioAlignment {
  #videoReport: { ntpUs: number; mediaTime: MediaTime } | undefined;
  #audioReport: { ntpUs: number; timestamp: number } | undefined;
  #newestVideo: { mediaTime: MediaTime; atUs: MonotonicUs } | undefined;
  /** mediaTime = timestamp * 90/48 + offset */
  #offset: number | undefined;

  onVideo(mediaTime: MediaTime, receivedAtUs: MonotonicUs): void {
    this.#newestVideo = { mediaTime, atUs: receivedAtUs };
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
    } else {
      this.#videoReport = undefined;
    }
  }

  /** @param timestamp unwrapped, 48 kHz */
  mediaTimeOf(timestamp: number, receivedAtUs: MonotonicUs): MediaTime {
    if (this.#offset === undefined) {
      const video = this.#newestVideo;
      if (video === undefined) return receivedAtUs * TICKS_PER_US;
      const mediaTime = video.mediaTime + (receivedAtUs - video.atUs) * TICKS_PER_US;
      this.#offset = mediaTime - timestamp * TICKS_PER_SAMPLE;
    }
    return timestamp * TICKS_PER_SAMPLE + this.#offset;
  }

  #align(): void {
    if (this.#videoReport === undefined || this.#audioReport === undefined) return;
    const { ntpUs, mediaTime } = this.#videoReport;
    const atAudio = mediaTime + (this.#audioReport.ntpUs - ntpUs) * TICKS_PER_US;
    this.#offset = atAudio - this.#audioReport.timestamp * TICKS_PER_SAMPLE;
  }
}
