import { z } from 'zod';
import { count } from './common.ts';

/** Which model upscales, and how. */
export const modelSection = z.strictObject({
  /** `resize`, a name from `models list`, a folder with manifest.json or an .onnx file. `auto` takes the best this machine runs. */
  name: z.string().min(1).default('auto'),
  /** `gpu`: ONNX models by WebGPU; `cuda` and `reference` are the FlashVSR engine's. */
  device: z.enum(['auto', 'cpu', 'gpu', 'cuda', 'reference']).default('auto'),
  /** Output size / source size for `resize` and FlashVSR; other models bring their own. */
  scale: z.number().min(1).max(8).default(4),
  filter: z.enum(['bicubic', 'lanczos']).default('lanczos'),
  /** Value range of an ONNX model without a manifest. */
  valueRange: z.tuple([z.number(), z.number()]).default([0, 1]),
  threads: count.max(256).default(2),
  sparseRatio: z.number().min(0.5).max(4).default(2),
  localRange: z.number().int().min(1).max(31).default(11),
  kvRatio: z.number().min(1).max(8).default(3),
  seed: z.number().int().min(0).default(0),
  colourMatch: z.enum(['adain', 'wavelet', 'none']).default('adain'),
  precision: z.enum(['bf16', 'fp32', 'fp8']).default('bf16'),
});
