import { z } from 'zod';
import { count } from './common.ts';

export const modelSection = z
  .strictObject({
    name: z
      .string()
      .min(1)
      .default('auto')
      .describe(
        "`resize`, a model's name, a model folder or an .onnx file; `auto` takes the best that this machine runs, `--model` alone lists them",
      ),
    device: z
      .enum(['auto', 'cpu', 'gpu', 'cuda', 'reference'])
      .default('auto')
      .describe(
        '`cuda`, `reference`: where FlashVSR runs; `gpu`: ONNX models by WebGPU, or not at all; `cpu`: no GPU at all (docs/models.md)',
      ),
    devices: z
      .union([
        z.literal('auto'),
        z
          .array(z.number().int().min(0).max(63))
          .min(1)
          .max(64)
          .refine((list) => new Set(list).size === list.length, 'each GPU once'),
      ])
      .default('auto')
      .describe('FlashVSR: which GPUs, as CUDA counts them, one engine each; `auto`: all that it can use'),
    scale: z
      .number()
      .min(1)
      .max(8)
      .default(4)
      .describe('size of the result / size of the source, for `resize` and FlashVSR; other models bring their own'),
    filter: z.enum(['bicubic', 'lanczos']).default('lanczos').describe('of `resize`'),
    valueRange: z
      .tuple([z.number(), z.number()])
      .default([0, 1])
      .describe("range of an ONNX model's values, for models without a manifest"),
    threads: count.max(256).default(2).describe('threads of one ONNX stream'),
    sparseRatio: z
      .number()
      .min(0.5)
      .max(4)
      .default(2)
      .describe('FlashVSR: how many windows attention keeps; 1.5 is faster (docs/flashvsr-model.md)'),
    localRange: z
      .number()
      .int()
      .min(1)
      .max(31)
      .default(11)
      .describe('FlashVSR: side of the field, in windows, in which attention looks (docs/flashvsr-model.md)'),
    kvRatio: z
      .number()
      .min(1)
      .max(8)
      .default(3)
      .describe('FlashVSR: groups of earlier frames that attention remembers (docs/flashvsr-model.md)'),
    seed: z.number().int().min(0).default(0).describe('FlashVSR: noise seed'),
    colourMatch: z
      .enum(['adain', 'wavelet', 'none'])
      .default('adain')
      .describe('FlashVSR: how the colours of the result follow the source'),
    decoder: z
      .enum(['tiny', 'wan'])
      .default('tiny')
      .describe(
        'FlashVSR: what makes pictures of its latents; `wan` is the Wan2.1 decoder of FlashVSR full, slower and closer to the latents, for models imported with Wan2.1_VAE.pth (docs/models.md)',
      ),
    precision: z
      .enum(['bf16', 'fp32', 'fp8', 'int8'])
      .default('bf16')
      .describe(
        'FlashVSR: number format of its products; `fp8` needs compute capability 8.9 or newer, `int8` runs on every card',
      ),
  })
  .describe('Which model upscales, and how');
