import {
  AV_FRAME_FLAG_INTERLACED,
  AV_PIX_FMT_YUV420P,
  AV_PIX_FMT_YUV420P10LE,
  AV_PIX_FMT_YUVJ420P,
  type AVPixelFormat,
} from 'node-av/constants';
import type { CodecContext, Frame, Stream } from 'node-av/lib';
import { monotonicUs } from '../media/clock.ts';
import { newTrace } from '../media/steps.ts';
import type { Colour } from '../media/types.ts';
import { colourOf, setFrameColour } from './colour.ts';
import { fileColour, frameTags, hdrName, streamTags, tagsOf, type ColourTags } from './colour-tags.ts';
import type { VideoInfo } from './file-input.ts';
import { FrameFilter } from './frame-filter.ts';
import { FramePicture } from './frame-picture.ts';
import { LOOK_AT, MAX_INTERLACED_LINES, findInterlace, flagFrame, orderOf, type FieldOrder } from './interlace.ts';
import { LostWithFrames, cropFilter, croppingOf, dolbyVisionNotice, type Cropping } from './picture-extras.ts';
import { pixelFormatOf } from './pixel-format.ts';
import { PictureScaler } from './scaler.ts';
import { liesOnSide, uprightFilter, type Orientation } from './still-orientation.ts';
import { isTransparent } from './transparency.ts';

/** What the stage behind can take; the rest is converted, and the user is informed. */
export interface PictureOptions {
  /** 10: pictures of more than 8 bits keep ten, and HDR stays HDR. */
  readonly maxBitDepth?: 8 | 10;
  /** 10: pictures of fewer bits get as many, for a sequence whose first one has them. */
  readonly minBitDepth?: 8 | 10;
  /** Interlaced pictures stay so, flagged as such. */
  readonly keepInterlaced?: boolean;
}

export interface PictureItem {
  readonly type: 'picture';
  readonly picture: FramePicture;
  readonly pts: bigint;
  readonly duration: bigint;
}

/** How a file's pictures look; what the first one says, or the container before it. */
export interface PictureLook {
  readonly colour: Colour;
  readonly tags: ColourTags;
  /** Width of a pixel by its height; 0/1 where the file does not say. */
  readonly sampleAspectRatio: Ratio;
  readonly bitDepth: 8 | 10;
  /** The field shown first, when the pictures are interlaced and stay so. */
  readonly fields: FieldOrder | undefined;
}

export interface Ratio {
  readonly num: number;
  readonly den: number;
}

/** Numbers pictures: an upscaler gives it back as it got it, so it names the picture whatever the file's clock is. */
export const TICKS_PER_PICTURE = 3000;
/** What RGB pictures become: sRGB has the primaries of BT.709, and limited range is read right by every player. */
const RGB_COLOUR: Colour = { matrix: 'bt709', range: 'limited' };
const NO_ASPECT: Ratio = { num: 0, den: 1 };
/** Pictures held while the first ones are looked at. */
const MAX_HEAD_BYTES = 256 * 2 ** 20;
/** Shapes that differ by less are the same: sides are rounded to whole macroblocks. */
const SAME_SHAPE = 0.02;
const TONE_MAP = [
  ...['zscale=transfer=linear:npl=203', 'format=gbrpf32le', 'zscale=primaries=bt709'],
  ...['tonemap=tonemap=mobius:desat=0', 'zscale=transfer=bt709:matrix=bt709:range=limited', 'format=yuv420p'],
].join(',');

/**
 * Decoded frames to pictures of one size, one format, one colour, progressive unless asked otherwise. What comes first decides: its
 * size, its shape and its colour stay the file's when those change half-way.
 */
export class FilePictures implements PictureLook {
  readonly #file: string;
  readonly #info: VideoInfo;
  readonly #video: Stream;
  readonly #decoder: CodecContext;
  readonly #options: PictureOptions;
  readonly #notices: string[];
  readonly #orientation: Orientation;
  /** The first frames, until it is known whether they are interlaced. */
  #head: Frame[] | undefined = [];
  #fields: FieldOrder | undefined;
  /** Flags to be put right: of all frames, where none says that it is interlaced; or of those that name the wrong field. */
  #mislabelled: 'all' | 'flagged' | undefined;
  /** Of the first frame: width by height as shown. */
  #shape = 1;
  #deinterlacer: FrameFilter | undefined;
  readonly #cropping: Cropping | undefined;
  #cropper: FrameFilter | undefined;
  readonly #lost: LostWithFrames;
  #turner: FrameFilter | undefined;
  /** Said once, of the first picture that is. */
  #transparent = false;
  #toneMapper: FrameFilter | undefined;
  #fitter: FrameFilter | undefined;
  #converter: PictureScaler | undefined;
  readonly #durations = new Map<bigint, bigint>();
  #count = 0;
  #colour: Colour;
  #tags: ColourTags;
  #aspect: Ratio;
  #format: AVPixelFormat = AV_PIX_FMT_YUV420P;

  constructor(
    input: {
      file: string;
      info: VideoInfo;
      video: Stream;
      decoder: CodecContext;
      notices: string[];
      orientation: Orientation;
    },
    options: PictureOptions,
  ) {
    this.#file = input.file;
    this.#info = input.info;
    this.#video = input.video;
    this.#decoder = input.decoder;
    this.#notices = input.notices;
    this.#orientation = input.orientation;
    this.#options = options;
    this.#colour = fileColour(this.#info.height);
    this.#tags = streamTags(this.#video.codecpar);
    this.#aspect = [this.#video.sampleAspectRatio, this.#video.codecpar.sampleAspectRatio].find(isRatio) ?? NO_ASPECT;
    this.#aspect = this.#upright(this.#aspect);
    this.#cropping = croppingOf(this.#video.codecpar);
    this.#lost = new LostWithFrames(this.#file, this.#notices);
    const dolbyVision = dolbyVisionNotice(this.#file, this.#video.codecpar);
    if (dolbyVision !== undefined) this.#notices.push(dolbyVision);
  }

  get tags(): ColourTags {
    return this.#tags;
  }

  get colour(): Colour {
    return this.#colour;
  }

  get sampleAspectRatio(): Ratio {
    return this.#aspect;
  }

  get bitDepth(): 8 | 10 {
    return this.#format === AV_PIX_FMT_YUV420P10LE ? 10 : 8;
  }

  get fields(): FieldOrder | undefined {
    return this.#options.keepInterlaced === true ? this.#fields : undefined;
  }

  /** @param frame becomes this object's; its pts is its time. null at the end */
  async push(frame: Frame | null): Promise<PictureItem[]> {
    if (frame !== null) this.#durations.set(frame.pts, frame.duration);
    if (this.#head === undefined) return this.#straighten(frame === null ? [null] : [frame]);
    if (frame !== null) this.#head.push(frame);
    if (frame !== null && this.#head.length < this.#headLength(frame)) return [];
    const head = this.#head;
    this.#head = undefined;
    await this.#lookAt(head);
    return this.#straighten(frame === null ? [...head, null] : head);
  }

  /** Idempotent. */
  close(): void {
    for (const frame of this.#head?.splice(0) ?? []) frame.free();
    this.#deinterlacer?.close();
    this.#cropper?.close();
    this.#turner?.close();
    this.#toneMapper?.close();
    this.#fitter?.close();
    this.#converter?.close();
  }

  #headLength({ width, height }: Frame): number {
    if (height > MAX_INTERLACED_LINES) return 1;
    return Math.max(1, Math.min(LOOK_AT, Math.floor(MAX_HEAD_BYTES / (width * height * 4))));
  }

  async #lookAt(head: readonly Frame[]): Promise<void> {
    const found = await findInterlace(head, this.#decoder);
    if (found === undefined) return;
    this.#interlaced(found.order);
    const wrong = head.some((frame) => isInterlaced(frame) && orderOf(frame) !== found.order);
    if (found.by !== 'frames') this.#mislabelled = 'all';
    else if (wrong) this.#mislabelled = 'flagged';
  }

  #interlaced(order: FieldOrder): void {
    if (this.#fields !== undefined) return;
    this.#fields = order;
    const what = `${this.#file} is interlaced, ${order} field first`;
    const done = 'its pictures were deinterlaced (--keep-interlaced keeps the fields)';
    this.#notices.push(`${what}: ${this.#options.keepInterlaced === true ? 'its fields were kept' : done}.`);
  }

  async #straighten(frames: readonly (Frame | null)[]): Promise<PictureItem[]> {
    const items: PictureItem[] = [];
    for (const frame of frames) {
      if (frame !== null) this.#mark(frame);
      for (const straight of await this.#deinterlace(frame)) items.push(await this.#item(straight));
    }
    return items;
  }

  /** Puts right what the frame says of its fields. */
  #mark(frame: Frame): void {
    if (isInterlaced(frame)) this.#interlaced(orderOf(frame));
    const wrong = this.#mislabelled === 'all' || (this.#mislabelled === 'flagged' && isInterlaced(frame));
    if (wrong) flagFrame(frame, this.#fields);
  }

  async #deinterlace(frame: Frame | null): Promise<Frame[]> {
    if (this.#fields === undefined || this.#options.keepInterlaced === true) return frame === null ? [] : [frame];
    const results: Frame[] = [];
    if (this.#deinterlacer !== undefined && (frame === null || !this.#deinterlacer.takes(frame))) {
      results.push(...(await this.#deinterlacer.push(null)));
      this.#deinterlacer.close();
      this.#deinterlacer = undefined;
    }
    if (frame === null) return results;
    this.#deinterlacer ??= new FrameFilter('bwdif=mode=send_frame:deint=interlaced', frame, this.#info.timeBase);
    results.push(...(await this.#deinterlacer.push(frame)));
    frame.free();
    return results;
  }

  async #item(whole: Frame): Promise<PictureItem> {
    const { pts } = whole;
    const duration = this.#durations.get(pts) ?? whole.duration;
    this.#durations.delete(pts);
    this.#lost.look(whole);
    const frame = await this.#crop(whole);
    if (this.#count === 0) this.#settle(frame);
    await this.#lookForTransparency(frame);
    let shown = await this.#turn(frame);
    shown = await this.#toSdr(shown);
    shown = await this.#fit(shown);
    return { type: 'picture', picture: this.#picture(shown), pts, duration };
  }

  /** What the container hides of pictures of the size that it names. */
  async #crop(frame: Frame): Promise<Frame> {
    const { width, height } = this.#video.codecpar;
    if (this.#cropping === undefined || frame.width !== width || frame.height !== height) return frame;
    if (this.#cropper?.takes(frame) !== true) {
      this.#cropper?.close();
      this.#cropper = new FrameFilter(cropFilter(this.#cropping, frame), frame, this.#info.timeBase);
    }
    return this.#through(this.#cropper, frame);
  }

  /** The first frame decides. */
  #settle(frame: Frame): void {
    const { depth } = pixelFormatOf(frame);
    const keepsDepth = this.#options.maxBitDepth === 10;
    this.#shape = liesOnSide(this.#orientation) ? 1 / shapeOf(frame) : shapeOf(frame);
    if (!isRatio(this.#video.sampleAspectRatio) && isRatio(frame.sampleAspectRatio))
      this.#aspect = this.#upright(frame.sampleAspectRatio);
    const hdr = hdrName(frame.colorTrc);
    if (hdr !== undefined && !keepsDepth) {
      this.#colour = { matrix: 'bt709', range: 'limited' };
      this.#tags = tagsOf(this.#colour);
      this.#notices.push(
        `${this.#file} is HDR (${hdr}): it was tone-mapped to SDR, BT.709, as this model takes 8 bits (--model resize keeps HDR).`,
      );
      return;
    }
    this.#colour = this.#colourOf(frame);
    this.#tags = frameTags(frame, this.#colour, this.#video.codecpar);
    const { minBitDepth = 8 } = this.#options;
    if (Math.max(depth, minBitDepth) <= 8) return;
    if (keepsDepth) this.#format = AV_PIX_FMT_YUV420P10LE;
    if (keepsDepth && depth > 10) this.#notices.push(`${this.#file} has ${depth} bits a sample: 10 were kept.`);
    if (keepsDepth) return;
    const bound = this.#options.minBitDepth === undefined ? 'this model takes' : 'the first picture has';
    this.#notices.push(`${this.#file} has ${depth} bits a sample: 8 were kept, as ${bound} no more.`);
  }

  #colourOf(frame: Frame): Colour {
    return pixelFormatOf(frame).rgb ? RGB_COLOUR : colourOf(frame, fileColour(this.#info.height, frame.colorPrimaries));
  }

  /** Formats that can hold transparency are mostly opaque: decoders put palettes, GIF and CMYK into them. */
  async #lookForTransparency(frame: Frame): Promise<void> {
    if (this.#transparent || !(await isTransparent(frame))) return;
    this.#transparent = true;
    this.#notices.push(`${this.#file} has transparency: it was left out.`);
  }

  #upright({ num, den }: Ratio): Ratio {
    return liesOnSide(this.#orientation) && num > 0 ? { num: den, den: num } : { num, den };
  }

  /** The way up that a camera noted beside the picture. */
  async #turn(frame: Frame): Promise<Frame> {
    const filter = uprightFilter(this.#orientation);
    if (filter === undefined) return frame;
    if (this.#turner?.takes(frame) !== true) {
      this.#turner?.close();
      this.#turner = new FrameFilter(filter, frame, this.#info.timeBase);
    }
    return this.#through(this.#turner, frame);
  }

  async #toSdr(frame: Frame): Promise<Frame> {
    if (hdrName(frame.colorTrc) === undefined || this.#options.maxBitDepth === 10) return frame;
    if (this.#toneMapper?.takes(frame) !== true) {
      this.#toneMapper?.close();
      this.#toneMapper = new FrameFilter(`${sourceOf(frame)},${TONE_MAP}`, frame, this.#info.timeBase);
    }
    return this.#through(this.#toneMapper, frame);
  }

  /** Another shape than the first picture's gets bars, as on a television. */
  async #fit(frame: Frame): Promise<Frame> {
    const { width, height } = this.#info;
    const wider = shapeOf(frame) / this.#shape;
    if (Math.abs(wider - 1) < SAME_SHAPE || pixelFormatOf(frame).rgb) return frame;
    const even = (side: number): number => Math.max(2, 2 * Math.round(side / 2));
    const [across, down] = wider > 1 ? [width, even(height / wider)] : [even(width * wider), height];
    const filters = `scale=${across}:${down}:flags=bicubic+accurate_rnd,pad=${width}:${height}:-1:-1`;
    if (this.#fitter?.takes(frame) !== true) {
      this.#fitter?.close();
      this.#fitter = new FrameFilter(filters, frame, this.#info.timeBase);
    }
    return this.#through(this.#fitter, frame);
  }

  /** For filters that give a frame for each. */
  async #through(filter: FrameFilter, frame: Frame): Promise<Frame> {
    const [result] = await filter.push(frame);
    if (result === undefined) return frame;
    frame.free();
    return result;
  }

  #picture(frame: Frame): FramePicture {
    const { width, height } = this.#info;
    const now = monotonicUs();
    const trace = { ...newTrace(now, now), decodedAtUs: now, convertedAtUs: now };
    const mediaTime = this.#count * TICKS_PER_PICTURE;
    this.#count += 1;
    const colour = this.#colourOf(frame);
    const same = colour.matrix === this.#colour.matrix && colour.range === this.#colour.range;
    const plain =
      frame.format === this.#format || (frame.format === AV_PIX_FMT_YUVJ420P && this.#format === AV_PIX_FMT_YUV420P);
    if (plain && same && frame.width === width && frame.height === height) {
      setFrameColour(frame, colour);
      return new FramePicture(frame, colour, mediaTime, trace);
    }
    this.#converter ??= new PictureScaler(width, height, 'bicubic', 1, true);
    const picture = this.#converter.scaleFrame(frame, colour, mediaTime, trace, this.#colour, this.#format);
    frame.free();
    return picture;
  }
}

function isRatio({ num, den }: Ratio): boolean {
  return num > 0 && den > 0;
}

function shapeOf({ width, height, sampleAspectRatio }: Frame): number {
  const aspect = isRatio(sampleAspectRatio) ? sampleAspectRatio.num / sampleAspectRatio.den : 1;
  return (width * aspect) / height;
}

function isInterlaced(frame: Frame): boolean {
  return frame.hasFlags(AV_FRAME_FLAG_INTERLACED);
}

/** zscale must know what it reads; HDR that does not say is BT.2020. */
function sourceOf({ colorTrc }: Frame): string {
  const transfer = hdrName(colorTrc) === 'PQ' ? 'smpte2084' : 'arib-std-b67';
  return `setparams=colorspace=bt2020nc:color_primaries=bt2020:color_trc=${transfer}`;
}
