import { AUDIO_CLOCK_HZ, VIDEO_CLOCK_HZ, type MediaTime } from '../../media/types.ts';

/** Of a picture in a container whose time begins at 0, in 1/90000 s. */
export interface PictureTimes {
  readonly pts: number;
  readonly dts: number;
  readonly duration: number;
}

/** Until two pictures have come. */
const NOMINAL_DURATION = VIDEO_CLOCK_HZ / 30;
/** A picture that lasts longer was followed by a gap. */
const LONGEST_DURATION = VIDEO_CLOCK_HZ;

/**
 * Decoding times of one container's pictures. Without B-frames they are those of presentation. With them (`reorderFrames` of the
 * SPS, H.264 section E.2.1) the n-th picture is decoded at the n-th smallest presentation time, that many pictures earlier; all
 * tracks begin that much later, so that no time is negative.
 */
export class VideoTimes {
  /** Media time of the container's 0. */
  readonly begin: MediaTime;
  /** Presentation times that no picture has been decoded at yet, ascending. */
  readonly #open: number[] = [];
  #lastDts = -1;
  #lastDuration = NOMINAL_DURATION;

  /** @param first of the container's first picture, a keyframe */
  constructor(first: MediaTime, reorderFrames: number) {
    this.begin = Math.round(first) - reorderFrames * NOMINAL_DURATION;
    for (let index = 0; index < reorderFrames; index += 1) this.#open.push(index * NOMINAL_DURATION);
  }

  /** @param mediaTime in decoding order @returns undefined for a picture that comes too late to have a place */
  next(mediaTime: MediaTime): PictureTimes | undefined {
    const pts = Math.round(mediaTime) - this.begin;
    let at = this.#open.length;
    while (at > 0 && (this.#open[at - 1] ?? 0) > pts) at -= 1;
    this.#open.splice(at, 0, pts);
    const dts = this.#open.shift() ?? pts;
    if (dts <= this.#lastDts || dts > pts) return undefined;
    const step = dts - this.#lastDts;
    if (this.#lastDts >= 0 && step <= LONGEST_DURATION) this.#lastDuration = step;
    this.#lastDts = dts;
    return { pts, dts, duration: this.#lastDuration };
  }
}

/** Times of packets come by sender reports and are corrected by them; below this they are taken as going on evenly. */
const TOLERANCE_SAMPLES = (60 * AUDIO_CLOCK_HZ) / 1000;
const SAMPLES_PER_TICK = AUDIO_CLOCK_HZ / VIDEO_CLOCK_HZ;

/** Whether so much more sound may be made; a step ahead is filled with silence, which is encoded. */
export type SoundBudget = (seconds: number) => boolean;

/** Times of one container's sound, in 1/48000 s: even, corrected by a step when they have left the pictures' time line. */
export class AudioTimes {
  readonly #begin: MediaTime;
  readonly #from: MediaTime;
  readonly #mayTake: SoundBudget;
  #next: number | undefined;

  /**
   * @param begin of the container
   * @param from its first picture, which with B-frames is later: what sounds before that belongs to the container before
   */
  constructor(begin: MediaTime, mayTake: SoundBudget = () => true, from = begin) {
    this.#begin = begin;
    this.#from = from;
    this.#mayTake = mayTake;
  }

  /** @returns undefined for a packet before the first picture, that the sound is too far ahead for, or beyond the budget */
  next(mediaTime: MediaTime, samples: number): number | undefined {
    const due = Math.round((mediaTime - this.#begin) * SAMPLES_PER_TICK);
    const next = this.#next ?? due;
    if (mediaTime < this.#from || due < 0 || next - due > TOLERANCE_SAMPLES) return undefined;
    const pts = due - next > TOLERANCE_SAMPLES ? due : next;
    if (!this.#mayTake((pts - next + samples) / AUDIO_CLOCK_HZ)) return undefined;
    this.#next = pts + samples;
    return pts;
  }
}
