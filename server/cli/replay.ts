import type { Command } from 'commander';
import { Decoder } from '../codec/decoder.ts';
import { Encoder } from '../codec/encoder.ts';
import { configSchema, type Config } from '../config/config.ts';
import { AppError } from '../errors.ts';
import type { Picture } from '../media/picture.ts';
import { readRecording, SequenceDigest, UnitDigests } from '../media/session-recording.ts';
import type { AccessUnit, ResultCodec } from '../media/types.ts';
import { resolveModel } from '../models/resolve.ts';
import { replaySession } from '../rtc/session-replay.ts';
import { createUpscaler } from '../upscalers/create-upscaler.ts';
import type { Upscaler, UpscalerStream } from '../upscalers/upscaler.ts';

/** Fixed, so that a result depends on the recording and the model alone. */
const BITRATE_BPS = 2_500_000;
const FRAMES_PER_SECOND = 30;

export interface ReplayResult {
  readonly packets: number;
  readonly units: SequenceDigest;
  /** Access units that differ from those of the recorded session, by position; a missing or surplus one differs too. */
  readonly differentUnits: readonly number[];
  readonly decoded: SequenceDigest;
  readonly upscaled: SequenceDigest;
  readonly encoded: SequenceDigest;
  readonly damagedUnits: number;
  readonly model: string;
}

export interface ReplayOptions {
  readonly model: Config['model'];
  readonly codec: ResultCodec;
}

/**
 * Sends a recorded session through receive, order, assemble, decode, upscale and encode again, without a clock: nothing is dropped for
 * being late, so the same recording and model give the same digests on every run.
 * @throws AppError file.unreadable | model.* | engine.*
 */
export async function replay(file: string, options: ReplayOptions): Promise<ReplayResult> {
  const { header, records } = readRecording(file);
  const config = configSchema.parse({ media: { jitterMs: header.jitterMs } });
  const upscaler = await createUpscaler(await resolveModel({ model: options.model }));
  const output = new ReplayOutput(upscaler, config.limits.maxSourcePixels, options.codec);
  const units: AccessUnit[] = [];
  const recorded: string[] = [];
  try {
    const { packets } = await replaySession(
      records,
      { ...config.ice, ...config.media },
      {
        onAccessUnit: (unit) => units.push({ ...unit, data: Uint8Array.from(unit.data) }),
        onRecordedUnit: (digest) => recorded.push(digest),
      },
    );
    const digests = new UnitDigests();
    const replayed = units.map((unit) => digests.of(unit).toString('hex'));
    const all = new SequenceDigest();
    for (const digest of replayed) all.add(digest);
    const length = Math.max(recorded.length, replayed.length);
    const differentUnits = Array.from({ length }, (_, at) => at).filter((at) => recorded[at] !== replayed[at]);
    for (const unit of units) await output.push(unit);
    await output.finish();
    const { decoded, upscaled, encoded, damagedUnits } = output;
    return {
      packets,
      units: all,
      differentUnits,
      decoded,
      upscaled,
      encoded,
      damagedUnits,
      model: upscaler.info.label,
    };
  } finally {
    await output.close();
    await upscaler.close();
  }
}

/** Decode, upscale and encode, one after the other; a digest behind each. */
class ReplayOutput {
  readonly decoded = new SequenceDigest();
  readonly upscaled = new SequenceDigest();
  readonly encoded = new SequenceDigest();
  damagedUnits = 0;
  readonly #upscaler: Upscaler;
  readonly #maxPixels: number;
  readonly #codec: ResultCodec;
  #decoder: Decoder | undefined;
  #stream: UpscalerStream | undefined;
  #size = '';
  #encoder: Encoder | undefined;
  #failure: AppError | undefined;

  constructor(upscaler: Upscaler, maxPixels: number, codec: ResultCodec) {
    this.#upscaler = upscaler;
    this.#maxPixels = maxPixels;
    this.#codec = codec;
  }

  async push(unit: AccessUnit): Promise<void> {
    if (this.#decoder?.codec !== unit.codec) {
      this.#decoder?.close();
      this.#decoder = new Decoder({ codec: unit.codec, maxPixels: this.#maxPixels });
    }
    let pictures: readonly Picture[];
    try {
      pictures = this.#decoder.decode(unit);
    } catch {
      // The live pipeline drops it as decode-error and waits for a keyframe; so does the decoder here.
      this.damagedUnits += 1;
      return;
    }
    for (const picture of pictures) await this.#upscale(picture);
  }

  async finish(): Promise<void> {
    for (const picture of this.#decoder?.flush() ?? []) await this.#upscale(picture);
    await this.#endStream();
  }

  async close(): Promise<void> {
    this.#decoder?.close();
    this.#encoder?.close();
    await this.#stream?.close();
  }

  async #upscale(picture: Picture): Promise<void> {
    this.decoded.add(`${picture.mediaTime} ${picture.width}x${picture.height}`, ...planesOf(picture));
    const size = `${picture.width}x${picture.height}`;
    if (this.#stream === undefined || size !== this.#size) {
      await this.#endStream();
      this.#size = size;
      this.#stream = await this.#upscaler.openStream(
        { sourceWidth: picture.width, sourceHeight: picture.height },
        { onPicture: (result) => this.#encode(result), onError: (error) => (this.#failure ??= error) },
      );
    }
    while (!this.#stream.ready && this.#failure === undefined) await new Promise((resolve) => setImmediate(resolve));
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#stream.push(picture) !== 'accepted') throw new AppError('model.run', 'The model refused a frame.');
  }

  async #endStream(): Promise<void> {
    await this.#stream?.flush();
    await this.#stream?.close();
    this.#stream = undefined;
    if (this.#failure !== undefined) throw this.#failure;
  }

  #encode(picture: Picture): void {
    this.upscaled.add(`${picture.mediaTime} ${picture.width}x${picture.height}`, ...planesOf(picture));
    const encoder = this.#encoderFor(picture);
    for (const { data, mediaTime, keyframe } of encoder.encode(picture, this.encoded.count === 0)) {
      this.encoded.add(`${mediaTime} ${keyframe ? 'key' : 'delta'}`, data);
    }
    picture.release?.();
  }

  #encoderFor({ width, height, colour }: Picture): Encoder {
    if (this.#encoder?.width === (width & ~1) && this.#encoder.height === (height & ~1)) return this.#encoder;
    this.#encoder?.close();
    return (this.#encoder = new Encoder({
      codec: this.#codec,
      width,
      height,
      colour,
      bitrateBps: BITRATE_BPS,
      framesPerSecond: FRAMES_PER_SECOND,
      keyframeIntervalSeconds: 10,
      keyframeMaxRatio: 8,
      threads: 1,
    }));
  }
}

/** The samples without the padding between rows. */
function* planesOf({ width, height, y, u, v, yStride, uvStride }: Picture): Generator<Uint8Array> {
  for (let row = 0; row < height; row += 1) yield y.subarray(row * yStride, row * yStride + width);
  const [chromaWidth, chromaHeight] = [(width + 1) >> 1, (height + 1) >> 1];
  for (const plane of [u, v]) {
    for (let row = 0; row < chromaHeight; row += 1) yield plane.subarray(row * uvStride, row * uvStride + chromaWidth);
  }
}

/** Registers `replay` with the command line. */
export function registerReplay(program: Command): void {
  program
    .command('replay')
    .description(
      'send a recorded session (debug.recordFolder) through the server again; prints a digest after each step',
    )
    .argument('<recording>', 'a .session file')
    .option('-m, --model <name>', 'resize, a model name, a folder with manifest.json, or an .onnx file', 'resize')
    .option('--codec <codec>', 'of the result: H264 or VP8', 'H264')
    .action(async (file: string, { model, codec }: { readonly model: string; readonly codec: string }) => {
      if (codec !== 'H264' && codec !== 'VP8') {
        throw new AppError('config.invalid', `--codec is "${codec}"; it must be H264 or VP8.`);
      }
      const result = await replay(file, { model: configSchema.shape.model.parse({ name: model }), codec });
      const rows: readonly (readonly [string, SequenceDigest])[] = [
        ['access units', result.units],
        ['decoded', result.decoded],
        [`upscaled by ${result.model}`, result.upscaled],
        [`encoded as ${codec}`, result.encoded],
      ];
      process.stdout.write(`${file}: ${result.packets} packets\n`);
      for (const [name, { count, hex }] of rows) process.stdout.write(`${hex}  ${String(count).padStart(6)} ${name}\n`);
      if (result.damagedUnits > 0) process.stdout.write(`${result.damagedUnits} access units could not be decoded\n`);
      const { differentUnits } = result;
      if (differentUnits.length === 0) {
        process.stdout.write('The access units are those of the recorded session.\n');
        return;
      }
      process.stdout.write(`${differentUnits.length} access units differ, the first is number ${differentUnits[0]}.\n`);
      process.exitCode = 1;
    });
}
