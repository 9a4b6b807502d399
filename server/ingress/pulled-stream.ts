import type { Source, SourceSink, SourceStats } from '../broadcast/source.ts';
import type { BroadcastStats, SessionState } from '../broadcast/statistics.ts';
import type { AppError } from '../errors.ts';
import { packetizeH264 } from '../media/h264.ts';
import { MAX_PAYLOAD_BYTES } from '../media/packetizer.ts';
import type { RtpClock } from '../media/rtp-clock.ts';
import { AUDIO_CLOCK_HZ, VIDEO_CLOCK_HZ, type MediaTime, type MonotonicUs, type SourceCodec } from '../media/types.ts';
import { packetizeVp8 } from '../media/vp8.ts';
import type { ForwardPacket } from '../rtc/peers.ts';
import type { AudioRecord, VideoRecord } from './child/messages.ts';

/** ForwardPacket.stream of pulled streams: apart from those of WebRTC, which count upwards. */
let streams = 0;

export interface PulledStreamOptions {
  readonly id: string;
  /** Of the broadcast. */
  readonly clock: RtpClock;
  readonly nowUs: () => MonotonicUs;
  readonly hasAudio: boolean;
  /** Ends what brings the records; called once. */
  readonly stop: () => Promise<void>;
  /** The broadcast has ended it, or it has ended by itself. */
  readonly onEnded: (reason: string, error: AppError | undefined) => void;
}

/** One connection to a pulled source, as a broadcast's source. */
export class PulledStream implements Source {
  readonly id: string;
  readonly #options: PulledStreamOptions;
  readonly #video = new Forwarded();
  readonly #audio = new Forwarded();
  #sink: SourceSink | undefined;
  #codec: SourceCodec | undefined;
  #state: SessionState = 'waiting';
  #rate = { atUs: 0, bytes: 0, frames: 0, bitrateBps: 0, framesPerSecond: 0 };
  #framesDropped = 0;
  #frames = 0;
  #restamped: number;
  #closing: Promise<void> | undefined;

  constructor(options: PulledStreamOptions) {
    this.id = options.id;
    this.#options = options;
    this.#restamped = options.clock.restamped;
    this.#rate.atUs = options.nowUs();
  }

  /** VP9 and AV1 have no packetizer here. */
  get packetized(): boolean {
    return this.#codec !== 'VP9' && this.#codec !== 'AV1';
  }

  /** Pictures so far. */
  get frames(): number {
    return this.#frames;
  }

  start(sink: SourceSink): void {
    this.#sink = sink;
    sink.onConnected();
  }

  /** A pulled stream has no way back; its keyframes come when they come. */
  requestKeyframe(): void {
    // see above
  }

  onVideo({ codec, data, timestamp, keyframe }: VideoRecord): void {
    const nowUs = this.#options.nowUs();
    const mediaTime = this.#options.clock.map(this, modulo32(timestamp), nowUs, true);
    this.#codec = codec;
    this.#frames += 1;
    this.#rate.bytes += data.length;
    this.#rate.frames += 1;
    this.#sink?.onAccessUnit({ codec, data, mediaTime, keyframe, receivedAtUs: nowUs, assembledAtUs: nowUs });
    const payloads = payloadsOf(codec, data);
    for (const [index, payload] of payloads.entries()) {
      const marker = index === payloads.length - 1;
      this.#sink?.onVideoPacket(this.#video.packet(payload, marker, timestamp, mediaTime, nowUs), codec);
    }
  }

  onAudio({ data, timestamp }: AudioRecord): void {
    const nowUs = this.#options.nowUs();
    this.#rate.bytes += data.length;
    const onVideoClock = Math.round((timestamp * VIDEO_CLOCK_HZ) / AUDIO_CLOCK_HZ);
    // Before the first picture there is no media time that sound could be placed by.
    const mediaTime = this.#options.clock.peek(this, modulo32(onVideoClock));
    if (mediaTime === undefined) return;
    this.#sink?.onAudioPacket(this.#audio.packet(data, false, timestamp, mediaTime, nowUs));
  }

  /** @param total since the start */
  onDropped(total: number): void {
    if (total > this.#framesDropped) this.#sink?.onDrop('ingest-slow', total - this.#framesDropped);
    this.#framesDropped = Math.max(this.#framesDropped, total);
  }

  /** The source is gone. */
  lost(error: AppError): void {
    this.#sink?.onEnded('source lost', error);
  }

  getStats(): SourceStats {
    const { bitrateBps, framesPerSecond } = this.#rate;
    return {
      ...{ codec: this.#codec, bitrateBps, framesPerSecond, packetsLost: 0 },
      timestampsReplaced: this.#options.clock.restamped - this.#restamped,
      hasAudio: this.#options.hasAudio,
    };
  }

  onState(state: SessionState, reason: string, error?: AppError): void {
    this.#state = state;
    if (state === 'ended') this.#options.onEnded(reason, error);
  }

  onStats(_stats: BroadcastStats): void {
    const { atUs, bytes, frames } = this.#rate;
    const nowUs = this.#options.nowUs();
    const seconds = (nowUs - atUs) / 1e6;
    if (seconds <= 0) return;
    const [bitrateBps, framesPerSecond] = [Math.round((bytes * 8) / seconds), Math.round(frames / seconds)];
    this.#rate = { atUs: nowUs, bytes: 0, frames: 0, bitrateBps, framesPerSecond };
  }

  close(): Promise<void> {
    this.#sink = undefined;
    this.#closing ??= this.#options.stop().then(() => this.#options.onEnded('closed', undefined));
    return this.#closing;
  }

  toJSON(): object {
    return { kind: 'pulled', state: this.#state, stats: this.getStats() };
  }
}

/** Packets as a publisher's track would have brought them. */
class Forwarded {
  readonly #stream = -(streams += 1);
  #sequence = 0;

  packet(
    payload: Uint8Array,
    marker: boolean,
    timestamp: number,
    mediaTime: MediaTime,
    receivedAtUs: MonotonicUs,
  ): ForwardPacket {
    this.#sequence += 1;
    return { stream: this.#stream, payload, marker, sequence: this.#sequence, timestamp, mediaTime, receivedAtUs };
  }
}

/** VP9 and AV1 have no packetizer here: viewers get their result alone. */
function payloadsOf(codec: SourceCodec, data: Uint8Array): readonly Uint8Array[] {
  if (codec === 'H264') return packetizeH264(data, MAX_PAYLOAD_BYTES);
  return codec === 'VP8' ? packetizeVp8(data, undefined, MAX_PAYLOAD_BYTES) : [];
}

function modulo32(timestamp: number): number {
  return ((timestamp % 2 ** 32) + 2 ** 32) % 2 ** 32;
}
