import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { AppError, ERRORS, type ErrorCode, type ErrorScope } from '../../errors.ts';
import type {
  DeviceReport,
  EngineInfo,
  EngineOptions,
  ImportRequest,
  MemoryPlan,
  ModelDims,
  NativeAddon,
  NativeEngine,
  NativeFrame,
  NativeStream,
  ProgressCallback,
  StreamOptions,
  StreamSettings,
  StreamStats,
} from './native-types.ts';
import { checkEngineOptions, checkStreamOptions, checkStreamSettings } from './options.ts';
import type { ModelLocation } from '../spec.ts';
import type { PushResult } from '../upscaler.ts';
import type { Picture } from '../../media/picture.ts';

export type * from './native-types.ts';

/**
 * The one door to the native engine. Options are checked here, errors come out as AppErrors with the native code, scope
 * and remedy, and nothing that takes long runs on the calling thread.
 */

/** Must be the addon's own (native/addon/addon.cpp); a stale build is refused instead of crashing. */
const BINDING_VERSION = 6;
const BUILT_ADDON = fileURLToPath(new URL('../../../build/addon/Release/flashvsr.node', import.meta.url));

let loaded: NativeAddon | undefined;

/** FLASHVSR_ADDON names another file. @throws AppError engine.unavailable */
export function loadAddon(): NativeAddon {
  if (loaded !== undefined) return loaded;
  const file = process.env['FLASHVSR_ADDON'] ?? BUILT_ADDON;
  if (!existsSync(file)) throw new AppError('engine.unavailable', `The native addon ${file} has not been built.`);
  let addon: NativeAddon;
  try {
    addon = createRequire(import.meta.url)(file) as NativeAddon;
  } catch (cause) {
    throw new AppError('engine.unavailable', `The native addon cannot be loaded: ${(cause as Error).message}`, {
      cause,
    });
  }
  if (addon.bindingVersion !== BINDING_VERSION) {
    throw new AppError(
      'engine.unavailable',
      `The native addon ${file} has binding version ${addon.bindingVersion}, this server needs ${BINDING_VERSION}.`,
    );
  }
  loaded = addon;
  return addon;
}

/** Native codes that are not in the catalogue, and what they are there. */
const CODES: Readonly<Record<string, ErrorCode>> = {
  'engine.settings': 'config.invalid',
  'engine.picture': 'model.run',
  'engine.closed': 'engine.failed',
  'engine.cancelled': 'engine.failed',
  'engine.recording': 'model.run',
};
const SCOPES: Readonly<Record<string, ErrorScope>> = { frame: 'frame', stream: 'stream', engine: 'process' };

interface NativeError extends Error {
  readonly code: string;
  readonly scope: string;
  readonly remedy: string;
}

function isNativeError(thrown: unknown): thrown is NativeError {
  return thrown instanceof Error && thrown.name === 'NativeError';
}

/** What the addon threw or reported, as an AppError; an AppError passes unchanged. */
export function fromNative(thrown: unknown): AppError {
  if (!isNativeError(thrown)) return AppError.from(thrown);
  const { code, scope, remedy, message } = thrown;
  const known = code in ERRORS ? (code as ErrorCode) : (CODES[code] ?? 'engine.failed');
  const affected = SCOPES[scope];
  return new AppError(known, message, {
    cause: thrown,
    context: { nativeCode: code },
    ...(affected === undefined ? {} : { scope: affected }),
    ...(remedy === '' ? {} : { remedy }),
  });
}

/** Awaits here, so that the AppError's stack names the caller. */
async function call<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (thrown) {
    throw fromNative(thrown);
  }
}

function callNow<T>(run: () => T): T {
  try {
    return run();
  } catch (thrown) {
    throw fromNative(thrown);
  }
}

/** Devices the engine knows, each with the reason when it cannot be used here. @throws AppError engine.unavailable */
export async function listDevices(cudaLibraryPath?: string): Promise<DeviceReport[]> {
  return call(() => loadAddon().devices(cudaLibraryPath));
}

/** Reads and checks every weight. @throws AppError weights.invalid with all problems in one message */
export async function checkModel(model: ModelLocation, onProgress?: ProgressCallback): Promise<ModelDims> {
  return call(() => loadAddon().checkModel(model, onProgress));
}

/** @returns the manifest's text @throws AppError weights.invalid; nothing is left behind */
export async function importModel(request: ImportRequest, onProgress?: ProgressCallback): Promise<string> {
  return call(() => loadAddon().importModel(request, onProgress));
}

/**
 * Ends the process at once, after a failure or at a second signal. `process.exit` runs CUDA's clean-up, which waits for the device,
 * and a device that hangs would keep the process from its supervisor. 'exit' listeners do not run.
 */
export function leaveProcess(code: number): never {
  try {
    loadAddon().leave(code);
  } catch {
    // No addon, so there is no device to wait for.
  }
  process.exit(code);
}

export interface StreamEvents {
  /** The receiver of a frame calls `release` when done with its memory, or lets it be collected. */
  onFrame(frame: StreamFrame): void;
  /** Scope `frame`: frames were lost. Otherwise onClosed follows. */
  onError(error: AppError): void;
  /** The last call, exactly once; without close() only after an error. */
  onClosed(): void;
}

export interface StreamFrame extends NativeFrame {
  /** Idempotent. `data` is detached afterwards when it was the engine's memory. */
  release(): void;
}

/** Engines are shared: the same model and options give the same engine in every thread of the process. */
export class FlashVsrEngine {
  readonly #native: NativeEngine;
  readonly info: EngineInfo;
  #closing: Promise<void> | undefined;

  private constructor(native: NativeEngine) {
    this.#native = native;
    this.info = native.info();
  }

  /** @throws AppError config.invalid | engine.unavailable | engine.device | engine.memory | weights.invalid */
  static async open(
    model: ModelLocation,
    options: EngineOptions,
    onProgress?: ProgressCallback,
  ): Promise<FlashVsrEngine> {
    const checked = checkEngineOptions(options);
    return new FlashVsrEngine(await call(() => loadAddon().openEngine(model, checked, onProgress)));
  }

  /** What a stream would need; `fits` is an answer, not an error. @throws AppError config.invalid */
  async plan(options: StreamOptions): Promise<MemoryPlan> {
    const checked = checkStreamOptions(options);
    return call(async () => this.#native.plan(checked));
  }

  /** @throws AppError config.invalid | engine.memory */
  async openStream(options: StreamOptions, events: StreamEvents): Promise<FlashVsrStream> {
    const checked = checkStreamOptions(options);
    const addon = loadAddon();
    const native = await call(async () =>
      this.#native.openStream(checked, {
        onFrame: (frame) => {
          const { loan, data } = frame;
          const release = loan === undefined ? () => undefined : () => addon.releaseFrame(loan, data);
          events.onFrame({ ...frame, release });
        },
        onError: (error) => events.onError(fromNative(error)),
        onClosed: () => events.onClosed(),
      }),
    );
    return new FlashVsrStream(native);
  }

  /** Idempotent. Open streams go on; the engine's memory is free when they and all other handles on it are closed. */
  close(): Promise<void> {
    this.#closing ??= call(() => this.#native.close());
    return this.#closing;
  }
}

const PUSH_RESULTS: readonly PushResult[] = ['accepted', 'full', 'closed'];

export class FlashVsrStream {
  readonly #native: NativeStream;

  constructor(native: NativeStream) {
    this.#native = native;
  }

  get outputWidth(): number {
    return this.#native.outputWidth;
  }

  get outputHeight(): number {
    return this.#native.outputHeight;
  }

  get ready(): boolean {
    return this.#native.ready();
  }

  /** Copies the picture. @throws AppError of scope frame for a picture whose planes do not hold what it says */
  push({ y, u, v, yStride, uvStride, width, height, colour, mediaTime }: Picture): PushResult {
    return callNow(() => {
      const { matrix, range } = colour;
      const answer = this.#native.push(y, u, v, yStride, uvStride, width, height, matrix, range, mediaTime);
      return PUSH_RESULTS[answer] ?? 'closed';
    });
  }

  /** Takes effect with the next chunk. @throws AppError config.invalid */
  update(settings: StreamSettings): void {
    const checked = checkStreamSettings(settings);
    callNow(() => this.#native.update(checked));
  }

  /** Resolves when every frame pushed so far was delivered, or the stream closed. The next push starts cold. */
  flush(): Promise<void> {
    return call(async () => this.#native.flush());
  }

  /** Idempotent; no onFrame after this call. Resolves after onClosed. */
  close(): Promise<void> {
    return call(async () => this.#native.close());
  }

  get stats(): StreamStats {
    return callNow(() => this.#native.stats());
  }
}
