import type { ModelLocation, ModelVariant } from '../spec.ts';

/**
 * What native/addon exports: plain objects, promises and callbacks. Only binding.ts uses the functions. Of what comes from the addon
 * the fields that are read here; it writes more (the tables of native/addon/options.cpp).
 */

export type DeviceName = 'auto' | 'reference' | 'cuda';
export type Precision = 'fp32' | 'bf16' | 'fp8' | 'int8';
/** `wan`: the Wan2.1 VAE's, of a model that was imported with it. */
export type Decoder = 'tiny' | 'wan';
export type ColourMatch = 'adain' | 'wavelet' | 'none';

export interface EngineOptions {
  readonly device: DeviceName;
  readonly deviceIndex?: number;
  /** Absent: fp32 on the reference backend, bf16 on cuda. */
  readonly precision?: Precision;
  /** Threads of the reference backend; 0 or absent: all of the machine's. */
  readonly threads?: number;
  readonly cudaLibraryPath?: string;
  /** A stream to warm up with before the engine opens; its memory is the first stream's. The first opener decides. */
  readonly warmUp?: StreamOptions;
  /** A chunk that the device has not finished after this long ends the engine. 0: no limit. Default 20 s. */
  readonly hangMs?: number;
}

export interface StreamSettings {
  readonly sparseRatio?: number;
  readonly topkRatio?: number;
  /** Fixed for the life of a stream. */
  readonly kvRatio?: number;
  readonly localRange?: number;
  readonly seed?: number;
  readonly colourMatch?: ColourMatch;
}

export interface StreamOptions {
  readonly sourceWidth: number;
  readonly sourceHeight: number;
  readonly scale?: number;
  readonly outputWidth?: number;
  readonly outputHeight?: number;
  /** Colour of the pictures that come out. */
  readonly matrix?: 'bt601' | 'bt709' | 'bt2020';
  readonly range?: 'limited' | 'full';
  readonly settings?: StreamSettings;
  readonly decoder?: Decoder;
  readonly coldStartFrames?: number;
  /** 0: no limit. */
  readonly gatherDeadlineMs?: number;
  readonly inputQueueFrames?: number;
  readonly outputQueueFrames?: number;
  readonly startPosition?: number;
  readonly recordPath?: string;
}

export interface ModelDims {
  readonly dim: number;
  readonly layers: number;
  readonly textLen: number;
  readonly variant: ModelVariant;
  /** Of the Wan2.1 decoder; 0: the model has none. */
  readonly wanWidth: number;
}

export interface EngineInfo {
  readonly device: 'reference' | 'cuda';
  readonly deviceName: string;
  readonly precision: Precision;
  readonly dims: ModelDims;
  readonly weightBytes: number;
  /** `warmUp` was run; it is left out when it does not fit. */
  readonly warm: boolean;
  /** What a steady chunk of `warmUp` took; 0 where it was not run. */
  readonly warmChunkMs: number;
}

export interface DeviceReport {
  readonly device: 'reference' | 'cuda';
  readonly name: string;
  /** Of several GPUs, as CUDA counts them. */
  readonly index: number;
  readonly usable: boolean;
  /** Why not; empty when usable. */
  readonly reason: string;
}

export interface MemoryPlan {
  readonly streamBytes: number;
  readonly availableBytes: number;
  readonly fits: boolean;
  readonly outputWidth: number;
  readonly outputHeight: number;
  readonly chunkFrames: number;
  readonly lookAheadFrames: number;
  readonly firstChunkFrames: number;
  readonly message: string;
}

export interface StreamStats {
  readonly pushedFrames: number;
  readonly refusedFrames: number;
  readonly outputFramesHeld: number;
  /** Time of the device for this stream so far. */
  readonly busyMs: number;
}

/** Y, U and V one after the other without padding in `data`. */
export interface NativeFrame {
  readonly data: ArrayBuffer;
  /** Present when `data` is the engine's own memory, which releaseFrame gives back. */
  readonly loan?: object;
  readonly width: number;
  readonly height: number;
  readonly mediaTime: number;
  /** 0 for the first picture pushed into the stream. */
  readonly frameIndex: number;
  readonly matrix: 'bt601' | 'bt709' | 'bt2020';
  readonly range: 'limited' | 'full';
}

export interface NativeCallbacks {
  onFrame(frame: NativeFrame): void;
  onError(error: Error): void;
  onClosed(): void;
}

/** push() answers by number: 0 accepted, 1 full, 2 closed. */
export interface NativeStream {
  outputWidth: number;
  outputHeight: number;
  push(
    y: Uint8Array,
    u: Uint8Array,
    v: Uint8Array,
    yStride: number,
    uvStride: number,
    width: number,
    height: number,
    matrix: string,
    range: string,
    mediaTime: number,
  ): number;
  ready(): boolean;
  update(settings: StreamSettings): void;
  flush(): Promise<void>;
  close(): Promise<void>;
  stats(): StreamStats;
}

export interface NativeEngine {
  info(): EngineInfo;
  plan(options: StreamOptions): Promise<MemoryPlan>;
  openStream(options: StreamOptions, callbacks: NativeCallbacks): Promise<NativeStream>;
  close(): Promise<void>;
}

export type ProgressCallback = (step: string, done: number, total: number) => void;

export interface ImportRequest {
  readonly transformer: string;
  readonly projector: string;
  readonly decoder: string;
  readonly prompt: string;
  /** Wan2.1_VAE.pth; absent: the tiny decoder alone. */
  readonly wan?: string;
  readonly outputFolder: string;
  readonly name: string;
  readonly variant: ModelVariant;
  readonly origin: string;
  readonly licence: string;
  readonly createdAt: string;
  readonly replace: boolean;
}

export interface NativeAddon {
  readonly bindingVersion: number;
  devices(cudaLibraryPath?: string): Promise<DeviceReport[]>;
  checkModel(model: ModelLocation, onProgress?: ProgressCallback): Promise<ModelDims>;
  importModel(request: ImportRequest, onProgress?: ProgressCallback): Promise<string>;
  openEngine(model: ModelLocation, options: EngineOptions, onProgress?: ProgressCallback): Promise<NativeEngine>;
  releaseFrame(loan: object, data: ArrayBuffer): void;
  /** Ends the process without its 'exit' listeners and without waiting for a device. */
  leave(code: number): never;
  /** Engines open in this process, for tests. */
  openEngines(): number;
}
