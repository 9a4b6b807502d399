import { resizeLabel } from './plain-resize.ts';
import { ResizeStream } from './resize-stream.ts';
import { RungSwitch, type Side } from './rung-switch.ts';
import type { StreamFormat, Upscaler, UpscalerInfo, UpscalerListener, UpscalerStream } from './upscaler.ts';

export interface LadderedOptions {
  /** Works in chunks. */
  readonly main: Upscaler;
  /** A small frame-by-frame model: real super-resolution goes on when the engine has no time left for this stream. */
  readonly small?: {
    /** Name for people. */
    readonly label: string;
    /** Loaded when the rung is reached for the first time: most pipelines never need it. */
    readonly load: () => Promise<Upscaler>;
  };
}

/** A chunk and its look-ahead: they take as long as emptying the engine does. */
const WAITING_FRAMES = 12;

/** Puts a small model and a plain resize behind the rungs of an upscaler that works in chunks. */
export class LadderedUpscaler implements Upscaler {
  readonly info: UpscalerInfo;
  readonly #options: LadderedOptions;
  readonly #streams = new Set<UpscalerStream>();
  #small: Promise<Upscaler> | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: LadderedOptions) {
    this.#options = options;
    const { info } = options.main;
    const behind = [...(options.small === undefined ? [] : [options.small.label]), resizeLabel('bicubic')];
    this.info = { ...info, rungs: [...info.rungs, ...behind], chunkedRungs: info.rungs.length };
  }

  async openStream(format: StreamFormat, listener: UpscalerListener): Promise<UpscalerStream> {
    const { main, small } = this.#options;
    const size: { width?: number; height?: number } = {};
    const engine: Side = {
      name: 'the engine',
      rungs: main.info.rungs.length,
      essential: true,
      open: async (own) => {
        const stream = await main.openStream(format, own);
        Object.assign(size, { width: stream.outputWidth, height: stream.outputHeight });
        return stream;
      },
    };
    const smallModel: Side = {
      name: 'the small model',
      rungs: 1,
      open: async (own) => (await this.#loadSmall()).openStream(format, own),
    };
    const resize: Side = {
      name: 'a plain resize',
      rungs: 1,
      open: (own) =>
        new ResizeStream({ width: size.width ?? 0, height: size.height ?? 0, filters: ['bicubic'], listener: own }),
    };
    const sides = [engine, ...(small === undefined ? [] : [smallModel]), resize];
    const stream: RungSwitch = await RungSwitch.open({
      sides,
      waitingFrames: WAITING_FRAMES,
      listener,
      onClose: () => this.#streams.delete(stream),
    });
    this.#streams.add(stream);
    return stream;
  }

  /** Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#streams].map((stream) => stream.close()));
    const small = await this.#small?.catch(() => undefined);
    await Promise.all([this.#options.main.close(), small?.close()]);
  }

  #loadSmall(): Promise<Upscaler> {
    this.#small ??= this.#options.small?.load() ?? Promise.reject(new Error('There is no small model.'));
    return this.#small;
  }
}
