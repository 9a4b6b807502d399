import { z } from 'zod';

/** What helps to find a defect; off by default. */
export const debugSection = z.strictObject({
  /** Every publisher's packets are recorded into a file of this folder (server/media/session-recording.ts): picture and sound in clear. */
  recordFolder: z.string().min(1).exactOptional(),
  /** A recording stops at this size. */
  recordMaxBytes: z.number().int().min(1_000_000).default(500_000_000),
  /** Single frames' steps of every broadcast as spans, for https://ui.perfetto.dev (one frame a second, at most 64 MiB). */
  traceFile: z.string().min(1).exactOptional(),
  /** FlashVSR only: every stream's input is recorded to this path and a number (native/engine/recording.h). */
  engineRecordPath: z.string().min(1).exactOptional(),
});
