import {
  AVDISCARD_ALL,
  AVERROR_EINVAL,
  AVERROR_INVALIDDATA,
  AVMEDIA_TYPE_ATTACHMENT,
  AVMEDIA_TYPE_AUDIO,
  AVMEDIA_TYPE_DATA,
  AVMEDIA_TYPE_SUBTITLE,
  AVMEDIA_TYPE_VIDEO,
  AV_CODEC_ID_BIN_DATA,
  AV_CODEC_ID_MOV_TEXT,
  AV_CODEC_ID_SUBRIP,
  AV_CODEC_ID_WEBVTT,
  AV_DISPOSITION_ATTACHED_PIC,
} from 'node-av/constants';
import { Dictionary, Packet, avGetCodecName, type FormatContext, type Stream } from 'node-av/lib';
import type { Container } from '../containers.ts';
import { keptMetadata } from './metadata.ts';
import { SoundConverter, pcmTarget, type SoundTarget } from './sound-converter.ts';
import { TEXT_SUBTITLES, convertSubtitle, movTextHeader, type TextForm } from './subtitle-text.ts';

export interface TrackOptions {
  /** False: the result is silent. */
  readonly sound: boolean;
  /** The result's ending, for sentences. */
  readonly ending: string;
  readonly globalHeader: boolean;
}

/** Of a film that is read. */
export interface TrackSource {
  readonly streams: readonly Stream[];
  /** That of the pictures, which is no track. */
  readonly video: Stream | undefined;
  /** Cover art by its stream's index. */
  readonly covers: ReadonlyMap<number, Buffer>;
}

type Track =
  | { readonly kind: 'copy'; readonly to: Stream }
  | { readonly kind: 'sound'; readonly to: Stream; readonly converter: SoundConverter }
  | { readonly kind: 'text'; readonly to: Stream; readonly form: TextForm; readonly codec: string };

/** Takes a packet, which stays the caller's. @returns a libav code */
type Write = (packet: Packet) => Promise<number>;

/**
 * Everything of a film beside its pictures: sound, subtitles, data, attachments and cover art. What the result's container takes is
 * copied; sound and text subtitles are converted where it takes them in another form; the rest is named in `notices`.
 */
export class Tracks {
  /** Sentences for the user. */
  readonly notices: string[] = [];
  /** Packets that could be neither copied nor converted. */
  damagedPackets = 0;
  readonly #format: FormatContext;
  readonly #container: Container;
  readonly #options: TrackOptions;
  readonly #tracks = new Map<number, Track>();
  readonly #covers: { readonly to: Stream; readonly picture: Buffer }[] = [];
  readonly #sourceCovers: ReadonlyMap<number, Buffer>;
  readonly #leftOut: string[] = [];

  /** Adds the streams to a container whose header is not written yet. */
  constructor(
    format: FormatContext,
    container: Container,
    { streams, video, covers }: TrackSource,
    options: TrackOptions,
  ) {
    this.#format = format;
    this.#container = container;
    this.#options = options;
    this.#sourceCovers = covers;
    for (const stream of streams) if (stream.index !== video?.index) this.#plan(stream, video);
    if (this.#leftOut.length > 0) {
      const better = container.muxer === 'matroska' ? '' : ' (.mkv takes the most)';
      this.notices.push(`Left out, as ${options.ending} does not take it${better}: ${this.#leftOut.join(', ')}.`);
    }
  }

  /** After the header. */
  async begin(write: Write): Promise<number> {
    for (const { to, picture } of this.#covers) {
      const packet = new Packet();
      packet.alloc();
      packet.data = picture;
      packet.isKeyframe = true;
      packet.streamIndex = to.index;
      packet.pts = packet.dts = 0n;
      const code = await write(packet);
      packet.free();
      if (code < 0) return code;
    }
    return 0;
  }

  /** Takes a packet of one of the source's streams and frees it. @returns a libav code: a disk's, not of damaged packets */
  async push(packet: Packet, from: Stream, write: Write): Promise<number> {
    const track = this.#tracks.get(from.index);
    try {
      return track === undefined ? 0 : await this.#pushTo(track, packet, from, write);
    } finally {
      packet.free();
    }
  }

  /** What converters still hold. */
  async finish(write: Write): Promise<number> {
    for (const track of this.#tracks.values()) {
      if (track.kind !== 'sound') continue;
      const code = await this.#writeAll(track.converter.convert(null), track, write);
      this.damagedPackets += track.converter.damagedPackets;
      if (code < 0) return code;
    }
    return 0;
  }

  /** Idempotent. */
  close(): void {
    for (const track of this.#tracks.values()) if (track.kind === 'sound') track.converter.close();
    this.#tracks.clear();
  }

  async #pushTo(track: Track, packet: Packet, from: Stream, write: Write): Promise<number> {
    switch (track.kind) {
      case 'copy':
        return this.#put(packet, from.timeBase, track.to, write);
      case 'sound':
        return this.#writeAll(track.converter.convert(packet), track, write);
      case 'text': {
        const data = convertSubtitle(packet.data ?? new Uint8Array(), track.codec, track.form);
        if (data === undefined) return 0;
        // node-av forgets the times with the old data.
        const { pts, dts, duration } = packet;
        packet.data = data;
        Object.assign(packet, { pts, dts, duration, isKeyframe: true });
        return this.#put(packet, from.timeBase, track.to, write);
      }
    }
  }

  async #writeAll(packets: Packet[], { to, converter }: Track & { kind: 'sound' }, write: Write): Promise<number> {
    let code = 0;
    for (const packet of packets) {
      if (code >= 0) code = await this.#put(packet, converter.encoder.timeBase, to, write);
      packet.free();
    }
    return code;
  }

  async #put(packet: Packet, timeBase: Stream['timeBase'], to: Stream, write: Write): Promise<number> {
    packet.rescaleTs(timeBase, to.timeBase);
    packet.streamIndex = to.index;
    packet.pos = -1n;
    const code = await write(packet);
    // A packet that its container's form cannot hold (an AAC header that lies, a time that runs back) is left out alone.
    if (code !== AVERROR_INVALIDDATA && code !== AVERROR_EINVAL) return code;
    this.damagedPackets += 1;
    return 0;
  }

  #plan(from: Stream, video: Stream | undefined): void {
    const { codecType } = from.codecpar;
    if (codecType === AVMEDIA_TYPE_AUDIO) this.#planSound(from);
    else if (codecType === AVMEDIA_TYPE_SUBTITLE) this.#planSubtitle(from);
    else if (codecType === AVMEDIA_TYPE_ATTACHMENT) this.#planAttachment(from);
    else if (codecType === AVMEDIA_TYPE_VIDEO) this.#planPicture(from);
    else this.#planData(from, video);
  }

  #planSound(from: Stream): void {
    if (!this.#options.sound) return;
    const { codecpar } = from;
    const codec = codecName(from);
    if (codecpar.sampleRate === 0 || codecpar.channels === 0) {
      this.notices.push(`Sound ${from.index} (${codec}) is announced, but nothing of it can be read: left out.`);
      return;
    }
    if (this.#container.sound.has(codec)) {
      this.#tracks.set(from.index, { kind: 'copy', to: this.#copyOf(from) });
      return;
    }
    const target = this.#soundTarget(from, codec);
    const converter = SoundConverter.open(from, target, { globalHeader: this.#options.globalHeader });
    if (converter === undefined) {
      this.#leftOut.push(described('sound', from));
      return;
    }
    const to = this.#format.newStream(null);
    to.codecpar.fromContext(converter.encoder);
    to.timeBase = converter.encoder.timeBase;
    describe(from, to);
    this.#tracks.set(from.index, { kind: 'sound', to, converter });
    const name = SOUND_NAMES[target];
    this.notices.push(`Sound ${from.index} is converted to ${name}: ${this.#options.ending} does not take ${codec}.`);
  }

  #soundTarget(from: Stream, codec: string): SoundTarget {
    const { lossless, lossy } = this.#container;
    if (lossless === undefined || !/pcm_|^(flac|alac|truehd|mlp|tta|wavpack)$/.test(codec)) return lossy;
    return lossless === 'pcm' ? pcmTarget(from) : lossless;
  }

  #planSubtitle(from: Stream): void {
    const codec = codecName(from);
    const { subtitles, text } = this.#container;
    if (subtitles.has(codec)) {
      this.#tracks.set(from.index, { kind: 'copy', to: this.#copyOf(from) });
      return;
    }
    if (text === undefined || !TEXT_SUBTITLES.has(codec)) {
      this.#leftOut.push(described('subtitles', from));
      return;
    }
    const to = this.#format.newStream(null);
    to.codecpar.codecType = AVMEDIA_TYPE_SUBTITLE;
    to.codecpar.codecId = TEXT_IDS[text];
    if (text === 'mov_text') to.codecpar.extradata = movTextHeader();
    to.timeBase = from.timeBase;
    describe(from, to);
    this.#tracks.set(from.index, { kind: 'text', to, form: text, codec });
  }

  #planAttachment(from: Stream): void {
    if (this.#container.attachments) this.#copyOf(from);
    else this.#leftOut.push(`attachment ${from.metadata?.get('filename') ?? from.index}`);
  }

  #planPicture(from: Stream): void {
    if (!from.hasDisposition(AV_DISPOSITION_ATTACHED_PIC)) {
      this.#leftOut.push(described('a second video', from));
      return;
    }
    // Not stream.attachedPic, which crashes node-av 6.1.1.
    const picture = this.#sourceCovers.get(from.index);
    const { cover } = this.#container;
    const codec = codecName(from);
    const type = COVER_TYPES[codec];
    if (picture === undefined || type === undefined || cover === undefined) {
      this.#leftOut.push(described('cover picture', from));
      return;
    }
    if (cover === 'stream') {
      this.#covers.push({ to: this.#copyOf(from), picture });
      return;
    }
    const to = this.#format.newStream(null);
    to.codecpar.codecType = AVMEDIA_TYPE_ATTACHMENT;
    to.codecpar.codecId = from.codecpar.codecId;
    to.codecpar.extradata = picture;
    const metadata = from.metadata?.getAll() ?? {};
    to.metadata = Dictionary.fromObject({ filename: `cover.${type.ending}`, mimetype: type.mime, ...metadata });
  }

  #planData(from: Stream, video: Stream | undefined): void {
    // Titles of an MP4's chapters are a separate track, which libav has read and hidden.
    if (from.codecpar.codecId === AV_CODEC_ID_BIN_DATA && from.discard === AVDISCARD_ALL) return;
    const codec = codecName(from);
    // Muxers that know time codes write this track from the picture's `timecode`.
    if (from.metadata?.get('timecode') != null && video?.metadata?.get('timecode') != null) return;
    if (from.codecpar.codecType === AVMEDIA_TYPE_DATA && this.#container.data.has(codec)) {
      this.#tracks.set(from.index, { kind: 'copy', to: this.#copyOf(from) });
    } else this.#leftOut.push(described('data', from));
  }

  #copyOf(from: Stream): Stream {
    const to = this.#format.newStream(null);
    from.codecpar.copy(to.codecpar);
    // A tag of another container may mean something else in this one.
    to.codecpar.codecTag = 0;
    to.timeBase = from.timeBase;
    describe(from, to);
    return to;
  }
}

const TEXT_IDS = { subrip: AV_CODEC_ID_SUBRIP, mov_text: AV_CODEC_ID_MOV_TEXT, webvtt: AV_CODEC_ID_WEBVTT } as const;

const SOUND_NAMES: Readonly<Record<SoundTarget, string>> = {
  aac: 'AAC',
  libopus: 'Opus',
  flac: 'FLAC',
  pcm_s16le: 'PCM of 16 bits',
  pcm_s24le: 'PCM of 24 bits',
};

const COVER_TYPES: Readonly<Record<string, { readonly ending: string; readonly mime: string }>> = {
  mjpeg: { ending: 'jpg', mime: 'image/jpeg' },
  png: { ending: 'png', mime: 'image/png' },
};

function codecName({ codecpar }: Stream): string {
  return avGetCodecName(codecpar.codecId) ?? 'unknown';
}

function described(what: string, stream: Stream): string {
  const language = stream.metadata?.get('language');
  const details = [codecName(stream), ...(language == null || language === 'und' ? [] : [language])];
  return `${what} ${stream.index} (${details.join(', ')})`;
}

/** Language, title, flags for players. */
function describe(from: Stream, to: Stream): void {
  to.disposition = from.disposition;
  const metadata = keptMetadata(from.metadata);
  if (metadata !== undefined) to.metadata = metadata;
}
