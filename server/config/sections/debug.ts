import { z } from 'zod';

export const debugSection = z
  .strictObject({
    recordFolder: z
      .string()
      .min(1)
      .exactOptional()
      .describe(
        "record every publisher's packets, in clear, into files of this folder; `npm run cli -- replay FILE` sends them through the server again",
      ),
    recordMaxBytes: z.number().int().min(1_000_000).default(500_000_000).describe('a recording stops at this size'),
    traceFile: z
      .string()
      .min(1)
      .exactOptional()
      .describe(
        "single frames' steps of every broadcast as spans, for https://ui.perfetto.dev: one frame a second, at most 64 MiB",
      ),
    engineRecordPath: z
      .string()
      .min(1)
      .exactOptional()
      .describe(
        "FlashVSR: every stream's input is recorded to this path and a number, for replay (docs/flashvsr-engine.md)",
      ),
  })
  .describe('What helps to find a defect; off by default');
