import type { StreamFormat, Upscaler, UpscalerInfo, UpscalerListener, UpscalerStream } from '../upscaler.ts';
import { SmallModelStream } from './stream.ts';

export interface SmallModelOptions {
  /** Works in chunks; its last rung is a plain resize. */
  readonly main: Upscaler;
  /** Name for people. */
  readonly label: string;
  /** Loaded when the rung is reached for the first time: most pipelines never need it. */
  readonly load: () => Promise<Upscaler>;
}

/**
 * Puts a small frame-by-frame model into the overload ladder of one that works in chunks, in front of its last rung: real
 * super-resolution goes on when the engine has no time left for this stream.
 */
export class SmallModelUpscaler implements Upscaler {
  readonly info: UpscalerInfo;
  readonly #options: SmallModelOptions;
  readonly #streams = new Set<SmallModelStream>();
  #small: Promise<Upscaler> | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: SmallModelOptions) {
    this.#options = options;
    const { info } = options.main;
    this.info = { ...info, rungs: [...info.rungs.slice(0, -1), options.label, ...info.rungs.slice(-1)] };
  }

  async openStream(format: StreamFormat, listener: UpscalerListener): Promise<UpscalerStream> {
    const smallRung = this.info.rungs.length - 2;
    const stream: SmallModelStream = await SmallModelStream.open({
      main: this.#options.main,
      small: () => this.#loadSmall(),
      smallRung,
      format,
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
    this.#small ??= this.#options.load();
    return this.#small;
  }
}
