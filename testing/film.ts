import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import ffmpeg from '@ffmpeg-installer/ffmpeg';
import {
  AVCOL_PRI_UNSPECIFIED,
  AVCOL_TRC_UNSPECIFIED,
  AVMEDIA_TYPE_AUDIO,
  AVMEDIA_TYPE_VIDEO,
  AV_FRAME_FLAG_INTERLACED,
  AV_FRAME_FLAG_TOP_FIELD_FIRST,
  AV_NOPTS_VALUE,
  AV_PIX_FMT_RGB24,
} from 'node-av/constants';
import {
  Codec,
  CodecContext,
  FormatContext,
  Frame,
  Packet,
  SoftwareScaleContext,
  avGetPixFmtName,
  type Stream,
} from 'node-av/lib';

/** Small films made by ffmpeg, and what another program than ours finds in a film: the tests of `upscale` compare the two. */

export function runFfmpeg(...args: string[]): Promise<unknown> {
  return promisify(execFile)(ffmpeg.path, ['-v', 'error', '-nostdin', '-y', ...args]);
}

export interface FilmStream {
  readonly codec: string;
  /** Seconds: start of the first packet and end of the last, by presentation time. */
  readonly start: number;
  readonly end: number;
  readonly packets: number;
}

export interface Film {
  readonly video: FilmStream;
  readonly audio: readonly FilmStream[];
  /** Presentation times of the decoded pictures, seconds. */
  readonly times: readonly number[];
  readonly width: number;
  readonly height: number;
  readonly pixelFormat: string;
  /** `num:den`. */
  readonly sampleAspect: string;
  /** `tv`, `pc` or `unknown`, then matrix, primaries and transfer as ffmpeg names them. */
  readonly range: string;
  readonly colour: readonly [matrix: string, primaries: string, transfer: string];
  /** The first picture's flag. */
  readonly interlaced: 'no' | 'top' | 'bottom';
  /** Eight bits each of the pixel at (x, y), shares of the picture, of picture `index`. */
  readonly rgb: (index: number, x: number, y: number) => readonly number[];
  /** Luma of picture `index` at pixel (x, y), on a scale of 8 bits. */
  readonly luma: (index: number, x: number, y: number) => number;
  /** The stream's description, for what is not above. */
  readonly sideData: ReadonlyMap<number, Buffer>;
}

const RANGES = ['unknown', 'tv', 'pc'];
/** ITU-T H.273, the names that ffmpeg gives them. */
const MATRICES: Readonly<Record<number, string>> = {
  ...{ 0: 'gbr', 1: 'bt709', 2: 'unknown', 4: 'fcc', 5: 'bt470bg', 6: 'smpte170m', 7: 'smpte240m', 8: 'ycgco' },
  ...{ 9: 'bt2020nc', 10: 'bt2020c' },
};
const PRIMARIES: Readonly<Record<number, string>> = {
  ...{ 1: 'bt709', 2: 'unknown', 4: 'bt470m', 5: 'bt470bg', 6: 'smpte170m', 7: 'smpte240m', 8: 'film', 9: 'bt2020' },
  ...{ 11: 'smpte431', 12: 'smpte432' },
};
const TRANSFERS: Readonly<Record<number, string>> = {
  ...{ 1: 'bt709', 2: 'unknown', 4: 'gamma22', 5: 'gamma28', 6: 'smpte170m', 7: 'smpte240m', 8: 'linear' },
  ...{ 13: 'iec61966-2-1', 14: 'bt2020-10', 15: 'bt2020-12', 16: 'smpte2084', 18: 'arib-std-b67' },
};

/** Decodes a whole film into memory. */
export async function readFilm(file: string): Promise<Film> {
  const format = new FormatContext();
  const opened = await format.openInput(`file:${file}`, null, null);
  if (opened < 0) throw new Error(`${file} does not open: ${opened}`);
  await format.findStreamInfo(null);
  const video = format.streams.find(({ codecpar }) => codecpar.codecType === AVMEDIA_TYPE_VIDEO);
  if (video === undefined) throw new Error(`${file} has no video`);
  const decoder = openDecoder(video);
  const frames: Frame[] = [];
  const spans = new Map<number, { start: number; end: number; packets: number }>();
  const packet = new Packet();
  packet.alloc();
  while ((await format.readFrame(packet)) >= 0) {
    const stream = format.streams[packet.streamIndex];
    if (stream !== undefined) extend(spans, stream, packet);
    if (packet.streamIndex === video.index) await decode(decoder, packet, frames);
    packet.unref();
  }
  await decode(decoder, null, frames);
  const tagged = spans.get(video.index);
  const [first] = frames;
  if (first === undefined || tagged === undefined) throw new Error(`${file} has no pictures`);
  const { num, den } = video.timeBase;
  const aspect = [video.sampleAspectRatio, video.codecpar.sampleAspectRatio].find((ratio) => ratio.num > 0);
  const film: Film = {
    video: { codec: codecName(video), ...tagged },
    audio: format.streams
      .filter(({ codecpar }) => codecpar.codecType === AVMEDIA_TYPE_AUDIO)
      .map((stream) => ({
        codec: codecName(stream),
        ...(spans.get(stream.index) ?? { start: 0, end: 0, packets: 0 }),
      })),
    times: frames.map((frame) => (Number(frame.bestEffortTimestamp) * num) / den),
    width: first.width,
    height: first.height,
    pixelFormat: avGetPixFmtName(first.format as never) ?? '?',
    sampleAspect: aspect === undefined ? '0:1' : `${aspect.num}:${aspect.den}`,
    range: RANGES[first.colorRange] ?? '?',
    colour: [
      MATRICES[first.colorSpace] ?? '?',
      PRIMARIES[first.colorPrimaries] ?? '?',
      TRANSFERS[first.colorTrc] ?? '?',
    ],
    interlaced: interlacedOf(first),
    rgb: (index, x, y) => rgbAt(frames.at(index), x, y),
    luma: (index, x, y) => lumaAt(frames.at(index), x, y),
    sideData: new Map(video.codecpar.getAllCodedSideData().map(({ type, data }) => [type, Buffer.from(data)])),
  };
  packet.free();
  decoder.freeContext();
  await format.closeInput();
  return film;
}

function codecName(stream: Stream): string {
  return Codec.findDecoder(stream.codecpar.codecId)?.name ?? '?';
}

function openDecoder(stream: Stream): CodecContext {
  const codec = Codec.findDecoder(stream.codecpar.codecId);
  if (codec === null) throw new Error('no decoder');
  const context = new CodecContext();
  context.allocContext3(codec);
  context.parametersToContext(stream.codecpar);
  context.pktTimebase = stream.timeBase;
  if (context.open2Sync(codec, null) < 0) throw new Error('the decoder does not open');
  return context;
}

async function decode(decoder: CodecContext, packet: Packet | null, frames: Frame[]): Promise<void> {
  await decoder.sendPacket(packet);
  for (;;) {
    const frame = new Frame();
    frame.alloc();
    if ((await decoder.receiveFrame(frame)) < 0) {
      frame.free();
      return;
    }
    frames.push(frame);
  }
}

function extend(
  spans: Map<number, { start: number; end: number; packets: number }>,
  { index, timeBase }: Stream,
  packet: Packet,
): void {
  const span = spans.get(index) ?? { start: Infinity, end: -Infinity, packets: 0 };
  spans.set(index, span);
  span.packets += 1;
  const pts = packet.pts === AV_NOPTS_VALUE ? packet.dts : packet.pts;
  if (pts === AV_NOPTS_VALUE) return;
  const at = (value: bigint): number => (Number(value) * timeBase.num) / timeBase.den;
  span.start = Math.min(span.start, at(pts));
  span.end = Math.max(span.end, at(pts + packet.duration));
}

function interlacedOf(frame: Frame): Film['interlaced'] {
  if (!frame.hasFlags(AV_FRAME_FLAG_INTERLACED)) return 'no';
  return frame.hasFlags(AV_FRAME_FLAG_TOP_FIELD_FIRST) ? 'top' : 'bottom';
}

function lumaAt(frame: Frame | undefined, x: number, y: number): number {
  const [plane] = frame?.data ?? [];
  if (frame === undefined || plane === undefined) return -1;
  const [stride = 0] = frame.linesize;
  const bits = Number(/p1[02]/.exec(avGetPixFmtName(frame.format as never) ?? '')?.[0].slice(1) ?? 8);
  return bits === 8 ? (plane[y * stride + x] ?? -1) : plane.readUInt16LE(y * stride + 2 * x) / 2 ** (bits - 8);
}

/** By the frame's own matrix and range; primaries and transfer are left as they are. */
function rgbAt(frame: Frame | undefined, x: number, y: number): readonly number[] {
  if (frame === undefined) return [];
  const rgb = new Frame();
  rgb.alloc();
  rgb.width = frame.width;
  rgb.height = frame.height;
  rgb.format = AV_PIX_FMT_RGB24;
  rgb.getBuffer();
  const source = frame.clone() as Frame;
  source.colorPrimaries = AVCOL_PRI_UNSPECIFIED;
  source.colorTrc = AVCOL_TRC_UNSPECIFIED;
  source.clearFlags(AV_FRAME_FLAG_INTERLACED);
  const context = new SoftwareScaleContext();
  context.allocContext();
  context.setOption('sws_flags', 'bicubic+accurate_rnd+full_chroma_int');
  if (context.scaleFrameSync(rgb, source) < 0) throw new Error('no RGB');
  const at = Math.floor(y * rgb.height) * (rgb.linesize[0] ?? 0) + 3 * Math.floor(x * rgb.width);
  const pixel = [...(rgb.data?.[0]?.subarray(at, at + 3) ?? [])];
  context.freeContext();
  source.free();
  rgb.free();
  return pixel;
}
