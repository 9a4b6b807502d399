/**
 * A serialisable description of an upscaler: what main resolves from --model once, and what a pipeline worker turns into
 * an `Upscaler` by `createUpscaler(spec)` (create-upscaler.ts).
 */
export type UpscalerSpec =
  | { readonly kind: 'resize'; readonly scale: number; readonly filter: 'bicubic' | 'lanczos' }
  | {
      readonly kind: 'onnx';
      readonly model: OnnxModel;
      /** Threads of one session (onnxruntime intra-op). */
      readonly threads: number;
      /** Cheaper models of this or a smaller scale, tried in order under overload before plain resize; the result keeps its size. */
      readonly fallbacks: readonly OnnxModel[];
    }
  | {
      readonly kind: 'flashvsr';
      readonly model: ModelLocation;
      readonly label: string;
      readonly device: 'auto' | 'cuda' | 'reference';
      /** Which of several GPUs; absent: the first. */
      readonly deviceIndex?: number;
      readonly scale: number;
      readonly sparseRatio: number;
      readonly localRange: number;
      readonly kvRatio: number;
      readonly seed: number;
      readonly colourMatch: 'adain' | 'wavelet' | 'none';
      readonly precision: 'bf16' | 'fp32' | 'fp8' | 'int8';
      readonly decoder: 'tiny' | 'wan';
      /** A small model of the same scale, for overload: behind the cheaper attention, before plain resize. */
      readonly smallModel?: { readonly model: OnnxModel; readonly threads: number };
      /** Real frames before the first picture; absent: the engine's default for live streams. The official code waits for 25. */
      readonly coldStartFrames?: number;
      /** A chunk that is not full after this is filled with repeats; absent: the live default. 0: never (files). */
      readonly gatherDeadlineMs?: number;
      /** Every stream's input is recorded to a file that begins with this, for `flashvsr_replay`. */
      readonly recordPath?: string;
    };

export type FlashVsrSpec = Extract<UpscalerSpec, { kind: 'flashvsr' }>;

/** Where the engine finds its weights. */
export type ModelLocation =
  /** A model.safetensors that the importer wrote. */
  | { readonly kind: 'imported'; readonly path: string }
  /** A folder with the four official files. */
  | { readonly kind: 'official'; readonly path: string; readonly variant: ModelVariant }
  /** Random weights. `micro`: the goldens' sizes, seconds on a CPU; `official`: 3.5 GB. */
  | { readonly kind: 'synthetic'; readonly path: 'micro' | 'official' | 'micro-wan' | 'official-wan' };

export type ModelVariant = 'v1' | 'v1.1';

/**
 * How a model takes and gives pictures. `rgb`: one float32 tensor [1, 3, H, W]. `yuv420p`: two uint8 tensors, luma
 * [1, 1, H, W] and chroma [1, 2, ceil(H/2), ceil(W/2)] (U, then V): a tightly packed I420 picture without any conversion.
 */
export type OnnxLayout = 'rgb' | 'yuv420p';

/** A tensor handed from one frame's outputs to the next frame's inputs, zeros at first. */
export interface RecurrentState {
  readonly input: string;
  readonly output: string;
  /** Its height and width are the frame's divided by this, rounded up. Absent: read from the graph's dimension names. */
  readonly divisor?: number;
}

/** One .onnx file and what is needed to run it, from its manifest.json or from the graph's names and a probe run. */
export interface OnnxModel {
  /** Absolute path of the .onnx file. */
  readonly file: string;
  /** Name for people. */
  readonly label: string;
  /** Absent: derived from the graph's inputs. */
  readonly layout?: OnnxLayout;
  /** `rgb` only: range of the model's input and output values, black and white. */
  readonly valueRange: readonly [number, number];
  /** What the manifest promises; the probe run must agree. Absent: the probe decides. */
  readonly scale?: number;
  /** Of the file, in hexadecimal; a file with another sum is refused. Absent: not checked. */
  readonly sha256?: string;
  /** `rgb` only: sides given to the model are padded up to a multiple of this and the result cropped back. Default 1. */
  readonly sizeMultiple?: number;
  /** Absent: pairs named `X`/`X_out`, `state_in_*`/`state_out_*` are found by name. */
  readonly recurrentState?: readonly RecurrentState[];
  /**
   * Runs on the GPU by WebGPU. `required`: or not at all. `preferred`: when that fails, at the start or later, the next model does its
   * work, or the CPU where there is none. Absent: on the CPU.
   */
  readonly gpu?: 'required' | 'preferred';
}
