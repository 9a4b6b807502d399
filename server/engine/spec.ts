/**
 * A serialisable description of an upscaler: what main resolves from --model once, and what a pipeline worker turns into
 * an `Upscaler` by `createUpscaler(spec)` (registry.ts).
 */
export type UpscalerSpec =
  | { readonly kind: 'resize'; readonly scale: number; readonly filter: 'bicubic' | 'lanczos' }
  | {
      readonly kind: 'onnx';
      /** The .onnx file. */
      readonly file: string;
      readonly label: string;
      /** Range of the model's input and output values. */
      readonly valueRange: readonly [number, number];
      /** Threads of one session (onnxruntime intra-op). */
      readonly threads: number;
      /** Cheaper models of the same scale, tried in order under overload before plain resize. */
      readonly fallbacks: readonly { readonly file: string; readonly label: string }[];
    }
  | {
      readonly kind: 'flashvsr';
      /** Folder of an imported model, or `synthetic` for benchmarks. */
      readonly model: string;
      readonly label: string;
      readonly device: 'auto' | 'cuda' | 'reference';
      readonly scale: number;
      readonly sparseRatio: number;
      readonly localRange: number;
      readonly kvRatio: number;
      readonly seed: number;
      readonly colourMatch: 'adain' | 'wavelet' | 'none';
      readonly precision: 'bf16' | 'fp32' | 'fp8';
    };
