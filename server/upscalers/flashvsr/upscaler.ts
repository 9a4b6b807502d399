import { AppError } from '../../errors.ts';
import type { FlashVsrSpec } from '../spec.ts';
import type { StreamFormat, Upscaler, UpscalerInfo, UpscalerListener, UpscalerStream } from '../upscaler.ts';
import { FlashVsrEngine, listDevices, type EngineInfo, type EngineOptions, type MemoryPlan } from './binding.ts';
import { FlashVsrUpscalerStream } from './stream.ts';

/**
 * What a GPU warms up with: most of what is made at first use does not depend on the picture's size, and a small stream fits
 * beside what else is on the card.
 */
const WARM_UP_SOURCE = { sourceWidth: 320, sourceHeight: 180 } as const;

/** Shares of the wanted sparse ratio: fewer attention blocks for less work, the first steps of the overload ladder. */
const SPARSE_SHARES = [1, 0.75, 0.5] as const;

/** The sparse ratio of every rung. */
export function sparseRatios(sparseRatio: number): readonly number[] {
  return SPARSE_SHARES.map((share) => sparseRatio * share);
}

/** The reference backend computes in fp32 only; the configured precision is one of the GPU's. */
async function engineOptions(spec: FlashVsrSpec): Promise<EngineOptions> {
  const { device, deviceIndex, precision, scale, sparseRatio, localRange, kvRatio, seed, colourMatch, decoder } = spec;
  const library = process.env['FLASHVSR_CUDA_LIBRARY'];
  if (device === 'reference') return { device };
  const usable =
    device === 'cuda' || (await listDevices(library)).some((report) => report.device === 'cuda' && report.usable);
  if (!usable) return { device: 'reference' };
  const settings = { sparseRatio, localRange, kvRatio, seed, colourMatch };
  const warmUp = { ...WARM_UP_SOURCE, scale, decoder, settings };
  return {
    device: 'cuda',
    precision,
    warmUp,
    ...(deviceIndex === undefined ? {} : { deviceIndex }),
    ...(library === undefined ? {} : { cudaLibraryPath: library }),
  };
}

/**
 * Opens the engine, or takes the one another thread of this process has open.
 *
 * @throws AppError engine.unavailable | engine.device | engine.memory | weights.invalid | model.invalid
 */
export async function createFlashVsrUpscaler(spec: FlashVsrSpec): Promise<Upscaler> {
  const engine = await FlashVsrEngine.open(spec.model, await engineOptions(spec));
  try {
    requireLiveSpeed(spec, engine.info);
    // Its rhythm does not depend on the picture's size.
    return new FlashVsrUpscaler(spec, engine, await engine.plan({ ...WARM_UP_SOURCE, decoder: spec.decoder }));
  } catch (error) {
    await engine.close();
    throw error;
  }
}

/** Below this, chunks of live video of 30 frames/s wait for each other, whatever the ladder leaves out before the decoder. */
const LIVE_FRAMES_PER_SECOND = 25;
const FRAMES_PER_CHUNK = 8;

/** Live, the Wan2.1 decoder is for machines on which it was measured to be fast enough: the overload ladder cannot make it cheaper. */
function requireLiveSpeed(
  { decoder, coldStartFrames, scale }: FlashVsrSpec,
  { deviceName, warmChunkMs }: EngineInfo,
): void {
  if (decoder === 'tiny' || coldStartFrames !== undefined) return;
  const size = `${WARM_UP_SOURCE.sourceWidth * scale}x${WARM_UP_SOURCE.sourceHeight * scale}`;
  const framesPerSecond = warmChunkMs > 0 ? (FRAMES_PER_CHUNK * 1000) / warmChunkMs : 0;
  if (framesPerSecond >= LIVE_FRAMES_PER_SECOND) return;
  const speed = warmChunkMs > 0 ? `makes ${framesPerSecond.toFixed(1)} frames/s of ${size}` : 'was not measured';
  throw new AppError(
    'model.device',
    `Live video with the Wan2.1 decoder needs ${LIVE_FRAMES_PER_SECOND} frames/s; it ${speed} on ${deviceName}.`,
    { remedy: 'Use --model.decoder tiny here; `upscale --decoder wan` makes files at any speed.' },
  );
}

/** Frames of a chunk, those that must follow its last, and real frames before the first picture: as the engine says. */
type Rhythm = Pick<MemoryPlan, 'chunkFrames' | 'lookAheadFrames' | 'firstChunkFrames'>;

/** The key/value ring holds some three chunks and the decoder one frame; what they hold depends on earlier ones
 * ever less: with the micro weights no sample differs after 96 frames, by 90 dB after 64. The Wan2.1 decoder's convolutions reach
 * 146 frames back (22 latents, then 28, 12 and 14 frames of its larger levels), and nothing of it beyond. */
const WARM_UP_FRAMES = { tiny: 96, wan: 160 };

/** FlashVSR in chunks: 5 frames until the first picture, then 8 for 8 with a look-ahead of 4. */
export class FlashVsrUpscaler implements Upscaler {
  readonly info: UpscalerInfo;
  readonly #spec: FlashVsrSpec;
  readonly #engine: FlashVsrEngine;
  readonly #streams = new Set<FlashVsrUpscalerStream>();
  #closing: Promise<void> | undefined;

  constructor(spec: FlashVsrSpec, engine: FlashVsrEngine, rhythm: Rhythm) {
    this.#spec = spec;
    this.#engine = engine;
    this.info = {
      kind: 'flashvsr',
      label: spec.label,
      superResolution: true,
      scale: spec.scale,
      device: engine.info.deviceName,
      lookAheadFrames: rhythm.lookAheadFrames,
      chunkFrames: rhythm.chunkFrames,
      firstChunkFrames: spec.coldStartFrames ?? rhythm.firstChunkFrames,
      warmUpFrames: WARM_UP_FRAMES[spec.decoder],
      rungs: sparseRatios(spec.sparseRatio).map((ratio) => `sparse ratio ${ratio}`),
      shared: true,
    };
  }

  async openStream(format: StreamFormat, listener: UpscalerListener): Promise<UpscalerStream> {
    if (this.#closing !== undefined) throw new AppError('engine.failed', 'The engine is closed.', { scope: 'request' });
    const stream: FlashVsrUpscalerStream = await FlashVsrUpscalerStream.open({
      engine: this.#engine,
      spec: this.#spec,
      format,
      listener,
      sparseRatios: sparseRatios(this.#spec.sparseRatio),
      chunkFrames: this.info.chunkFrames,
      lookAheadFrames: this.info.lookAheadFrames,
      onClose: () => this.#streams.delete(stream),
    });
    this.#streams.add(stream);
    if (this.#closing !== undefined) await stream.close();
    return stream;
  }

  /** Idempotent; closes its streams first. */
  close(): Promise<void> {
    this.#closing ??= Promise.all([...this.#streams].map((stream) => stream.close())).then(() => this.#engine.close());
    return this.#closing;
  }
}
