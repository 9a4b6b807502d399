import { monotonicUs } from '../../media/clock.ts';
import { opusSamples } from '../../media/opus.ts';
import { TokenBucket } from '../../media/token-bucket.ts';
import { VIDEO_CLOCK_HZ, type MediaTime, type MonotonicUs } from '../../media/types.ts';
import { LONGEST_SILENCE_SECONDS } from '../../codec/tracks/sound-converter.ts';
import type { ContainerWriter } from './container-writer.ts';
import type { AudioItem, MediaItem, VideoItem } from './messages.ts';
import { AudioTimes, VideoTimes } from './track-times.ts';
import { sameParameters, streamParameters, type StreamParameters } from './video-parameters.ts';

/** Where one session's media goes: files of a recording, a server. All calls block. */
export interface MuxOutput {
  /** The container can say nothing new in front: another size or codec needs another one. */
  readonly fixedParameters: boolean;
  /** @throws MuxError | AppError */
  open(video: StreamParameters, hasAudio: boolean): ContainerWriter;
  /** Whether the container is to be followed by another one at the next keyframe. */
  full(writer: ContainerWriter, ticks: number): boolean;
  /** Pictures without a keyframe that are too many, 1/90000 s. */
  readonly keyframeTicks: number;
  /** About once a second of media time. @throws AppError */
  check(): void;
}

export interface MuxListener {
  onRunning(): void;
  onNeedKeyframe(): void;
}

/** Sound that has been heard this recently is there. */
const SOUND_RECENT = VIDEO_CLOCK_HZ;
/** How long the container waits for the first packet of sound: unless some is expected, it may have none. */
const SOUND_WAIT = VIDEO_CLOCK_HZ / 2;
const EXPECTED_SOUND_WAIT = 4 * VIDEO_CLOCK_HZ;
const CHECK_EVERY = VIDEO_CLOCK_HZ;
/** Keyframes are asked for at most this often. */
const ASK_EVERY = VIDEO_CLOCK_HZ;
/** Newest packets of sound, which may be ahead of the pictures: a container begins with those of its first picture. */
const MAX_SOUND = 200;
/**
 * Pictures that wait for sound: four seconds of 120 frames/s. A publisher whose clock hardly advances would otherwise fill the memory.
 */
const MAX_PICTURES = 480;
/**
 * Seconds of sound. The publisher's clock says how much silence a packet has in front of it; this process works for other broadcasts,
 * too. A step that is surely longer than the longest silence is not filled (sound-converter.ts) and costs the packet alone.
 */
const SOUND_BUDGET = { burst: 120, perSecond: 2 };
const UNFILLED_SECONDS = LONGEST_SILENCE_SECONDS + 1;
/** RFC 6716 section 3.2.5 */
const LONGEST_PACKET_SECONDS = 0.12;

interface Open {
  readonly writer: ContainerWriter;
  readonly parameters: StreamParameters;
  readonly video: VideoTimes;
  readonly audio: AudioTimes;
}

/**
 * One session's way from items to containers: it begins each at a keyframe with the tracks that are there, gives each picture
 * and packet its time in it, and changes to the next one when the output or the stream asks for that.
 */
export class MuxSession {
  readonly #output: MuxOutput;
  readonly #listener: MuxListener;
  #open: Open | undefined;
  /** Pictures from a keyframe on, until it is known which tracks there are. */
  #pictures: VideoItem[] = [];
  #sound: AudioItem[] = [];
  #soundAt: MediaTime | undefined;
  #soundExpected = false;
  #newest: MediaTime = -Infinity;
  #checkedAt: MediaTime = -Infinity;
  #askedAt: MediaTime = -Infinity;
  #keyframeAt: MediaTime = -Infinity;
  readonly #soundBudget = new TokenBucket(SOUND_BUDGET);
  readonly #nowUs: () => MonotonicUs;

  constructor(output: MuxOutput, listener: MuxListener, nowUs = monotonicUs) {
    this.#output = output;
    this.#listener = listener;
    this.#nowUs = nowUs;
  }

  expectSound(expected: boolean): void {
    this.#soundExpected = expected;
  }

  /** @throws MuxError | AppError; the session is over then */
  handle(item: MediaItem): void {
    if (item.type === 'audio') this.#onAudio(item);
    else this.#onVideo(item);
  }

  /** Completes the container. @throws MuxError */
  close(): void {
    if (this.#open === undefined && this.#pictures.length > 0) this.#begin();
    const open = this.#open;
    this.#open = undefined;
    open?.writer.close();
  }

  /** After an error. */
  abandon(): void {
    this.#open?.writer.abandon();
    this.#open = undefined;
  }

  #onAudio(item: AudioItem): void {
    this.#soundAt = item.mediaTime;
    this.#sound.push(item);
    if (this.#sound.length > MAX_SOUND) this.#sound.shift();
    if (this.#open !== undefined) this.#writeAudio(this.#open, item);
    else if (this.#pictures.length > 0) this.#begin();
  }

  #onVideo(item: VideoItem): void {
    this.#newest = Math.max(this.#newest, item.mediaTime);
    if (item.keyframe) this.#keyframeAt = item.mediaTime;
    if (this.#open !== undefined) {
      if (item.keyframe && this.#mustChange(this.#open, item)) this.#end();
      else {
        this.#writeVideo(this.#open, item);
        this.#look(this.#open);
        return;
      }
    }
    if (this.#pictures.length === 0 && !item.keyframe) {
      this.#ask();
      return;
    }
    this.#pictures.push(item);
    if (this.#soundKnown()) this.#begin();
  }

  #soundKnown(): boolean {
    const [first] = this.#pictures;
    if (first === undefined) return false;
    if (this.#hasSound(first) || this.#pictures.length >= MAX_PICTURES) return true;
    return this.#newest - first.mediaTime >= (this.#soundExpected ? EXPECTED_SOUND_WAIT : SOUND_WAIT);
  }

  #hasSound(first: VideoItem): boolean {
    return this.#soundAt !== undefined && this.#soundAt > first.mediaTime - SOUND_RECENT;
  }

  #begin(): void {
    const pictures = this.#pictures;
    const [first] = pictures;
    const parameters = first === undefined ? undefined : streamParameters(first);
    this.#pictures = [];
    if (first === undefined || parameters === undefined) {
      this.#ask();
      return;
    }
    const writer = this.#output.open(parameters, this.#hasSound(first));
    const video = new VideoTimes(first.mediaTime, parameters.reorderFrames);
    const audio = new AudioTimes(video.begin, (seconds) => this.#mayTakeSound(seconds), first.mediaTime);
    const open: Open = { writer, parameters, video, audio };
    this.#open = open;
    this.#listener.onRunning();
    for (const item of pictures) this.#writeVideo(open, item);
    for (const item of this.#sound) this.#writeAudio(open, item);
  }

  #end(): void {
    const open = this.#open;
    this.#open = undefined;
    open?.writer.close();
  }

  #mustChange(open: Open, item: VideoItem): boolean {
    if (this.#wantsAnother(open)) return true;
    if (!this.#output.fixedParameters) return false;
    const parameters = streamParameters(item);
    return parameters !== undefined && !sameParameters(parameters, open.parameters);
  }

  #wantsAnother({ writer, video }: Open): boolean {
    const soundCame = !writer.hasAudio && this.#soundAt !== undefined && this.#soundAt > video.begin;
    return soundCame || this.#output.full(writer, this.#newest - video.begin);
  }

  #look(open: Open): void {
    if (this.#newest - this.#checkedAt >= CHECK_EVERY) {
      this.#checkedAt = this.#newest;
      this.#output.check();
    }
    const late = this.#newest - this.#keyframeAt >= this.#output.keyframeTicks;
    if (late || this.#wantsAnother(open)) this.#ask();
  }

  #ask(): void {
    if (this.#newest - this.#askedAt < ASK_EVERY) return;
    this.#askedAt = this.#newest;
    this.#listener.onNeedKeyframe();
  }

  #mayTakeSound(seconds: number): boolean {
    const made = seconds > UNFILLED_SECONDS ? LONGEST_PACKET_SECONDS : seconds;
    return this.#soundBudget.take(this.#nowUs(), made);
  }

  #writeVideo({ writer, video }: Open, { data, mediaTime, keyframe }: VideoItem): void {
    const times = video.next(mediaTime);
    if (times !== undefined) writer.writeVideo(data, times, keyframe);
  }

  #writeAudio({ writer, audio }: Open, { data, mediaTime }: AudioItem): void {
    const samples = opusSamples(data);
    if (!writer.hasAudio || samples === undefined) return;
    const pts = audio.next(mediaTime, samples);
    if (pts !== undefined) writer.writeAudio(data, pts, samples);
  }
}
