import {
  AVERROR_EOF,
  AVMEDIA_TYPE_AUDIO,
  AVMEDIA_TYPE_VIDEO,
  AV_DISPOSITION_ATTACHED_PIC,
  AV_DISPOSITION_DEFAULT,
  AV_DISPOSITION_TIMED_THUMBNAILS,
  AV_NOPTS_VALUE,
} from 'node-av/constants';
import { Packet, type FormatContext, type Stream } from 'node-av/lib';
import { libavMessage } from '../../codec/native.ts';
import { AppError } from '../../errors.ts';
import { VIDEO_CLOCK_HZ } from '../../media/types.ts';
import { openAudioTrack, type AudioTrack, type OpusPacket } from './audio-track.ts';
import type { Pacer } from './pacer.ts';
import type { SegmentTimes } from './packed-audio.ts';
import type { RecordWriter } from './record-writer.ts';
import type { Timeline } from './timeline.ts';
import type { CodedPicture, VideoTrack } from './coded-picture.ts';
import { openVideoTrack } from './video-track.ts';

export interface PumpOptions {
  readonly out: Pick<RecordWriter, 'video' | 'audio'>;
  readonly timeline: Timeline;
  /** Absent: packets leave as they come. */
  readonly pacer: Pacer | undefined;
  /** limits.maxSourcePixels */
  readonly maxPixels: number;
  /** Of a demuxer that only counts what it reads (packed audio). */
  readonly times?: SegmentTimes | undefined;
  /** Something has come. */
  readonly onPacket: () => void;
  /** Why reading has failed, when the input knows more than libav. */
  readonly failure: () => AppError | undefined;
}

/** The video and the sound of one demuxer, as records of the server. */
export class StreamPump {
  readonly notices: string[] = [];
  damaged = 0;
  readonly #format: FormatContext;
  readonly #options: PumpOptions;
  readonly #video: { readonly stream: Stream; readonly track: VideoTrack } | undefined;
  readonly #audio: { readonly stream: Stream; readonly track: AudioTrack } | undefined;
  readonly #name: string;

  /**
   * @param name of the demuxer among the source's
   * @param wanted what to take of it
   * @throws AppError media.unsupported
   */
  constructor(format: FormatContext, name: string, wanted: { video: boolean; audio: boolean }, options: PumpOptions) {
    this.#format = format;
    this.#name = name;
    this.#options = options;
    const video = wanted.video ? bestVideo(format) : undefined;
    this.#video = video && { stream: video, track: openVideoTrack(video, options.maxPixels) };
    const audio = wanted.audio ? bestAudio(format) : undefined;
    const track = audio && openAudioTrack(audio);
    if (typeof track === 'string') this.notices.push(track);
    this.#audio = audio === undefined || typeof track !== 'object' ? undefined : { stream: audio, track };
  }

  get hasVideo(): boolean {
    return this.#video !== undefined;
  }
  get hasAudio(): boolean {
    return this.#audio !== undefined;
  }

  /** Until the stream's end. @throws AppError target.unreachable when reading fails */
  async run(): Promise<void> {
    const packet = new Packet();
    packet.alloc();
    try {
      for (;;) {
        const code = await this.#format.readFrame(packet);
        if (code === AVERROR_EOF && this.#options.failure() === undefined) break;
        if (code < 0) {
          throw (
            this.#options.failure() ??
            new AppError('target.unreachable', `The source broke off: ${libavMessage(code)}.`)
          );
        }
        this.#options.onPacket();
        await this.#take(packet);
        packet.unref();
      }
      // What a decoder held back has times of its pictures, not of a packet.
      this.#sendVideo(this.#video?.track.end() ?? [], 0);
      this.#sendAudio(this.#audio?.track.convert(null) ?? []);
    } finally {
      packet.free();
    }
  }

  close(): void {
    this.#video?.track.close();
    this.#audio?.track.close();
  }

  async #take(packet: Packet): Promise<void> {
    const known = [this.#video, this.#audio].find((entry) => entry?.stream.index === packet.streamIndex);
    if (known === undefined || packet.size === 0) return;
    const { num, den } = known.stream.timeBase;
    const dts = packet.dts === AV_NOPTS_VALUE ? packet.pts : packet.dts;
    if (dts === AV_NOPTS_VALUE) {
      this.damaged += 1;
      return;
    }
    if (packet.pts === AV_NOPTS_VALUE) packet.pts = dts;
    const { timeline, pacer, times } = this.#options;
    const seconds = (Number(dts) * num) / den;
    const duration = Math.min(1, (Number(packet.duration) * num) / den);
    const begun = times?.offsetAt(Number(packet.pos), seconds) ?? 0;
    const offset = begun + timeline.place(`${this.#name}:${packet.streamIndex}`, seconds + begun, duration);
    await this.#pace(pacer?.waitMs(seconds + offset, performance.now()) ?? 0);
    const ticks = BigInt(Math.round((offset * den) / num));
    packet.pts += ticks;
    if (known === this.#video) {
      packet.dts = dts + ticks;
      const timestamp = Math.round((Number(packet.pts) * num * VIDEO_CLOCK_HZ) / den);
      this.#sendVideo(this.#video.track.convert(packet), timestamp);
      return;
    }
    packet.dts = packet.pts;
    this.#sendAudio(this.#audio?.track.convert(packet) ?? []);
  }

  #sendVideo(pictures: readonly CodedPicture[], timestamp: number): void {
    for (const picture of pictures) this.#options.out.video({ kind: 'video', timestamp, ...picture });
  }

  #sendAudio(packets: readonly OpusPacket[]): void {
    for (const packet of packets) this.#options.out.audio({ kind: 'audio', ...packet });
  }

  async #pace(waitMs: number): Promise<void> {
    if (waitMs < 1) return;
    await new Promise((resolve) => setTimeout(resolve, waitMs));
    this.#options.onPacket();
  }
}

/** The largest moving picture, or the one marked as default. Cover art and thumbnails are video streams too. */
function bestVideo(format: FormatContext): Stream | undefined {
  const moving = format.streams.filter(
    (stream) =>
      stream.codecpar.codecType === AVMEDIA_TYPE_VIDEO &&
      !stream.hasDisposition(AV_DISPOSITION_ATTACHED_PIC) &&
      !stream.hasDisposition(AV_DISPOSITION_TIMED_THUMBNAILS),
  );
  const weight = (stream: Stream): number =>
    stream.codecpar.width * stream.codecpar.height + (stream.hasDisposition(AV_DISPOSITION_DEFAULT) ? 5e6 : 0);
  return moving.sort((a, b) => weight(b) - weight(a))[0];
}

function bestAudio(format: FormatContext): Stream | undefined {
  const sound = format.streams.filter(({ codecpar }) => codecpar.codecType === AVMEDIA_TYPE_AUDIO);
  return sound.find((stream) => stream.hasDisposition(AV_DISPOSITION_DEFAULT)) ?? sound[0];
}
