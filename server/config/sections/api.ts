import { z } from 'zod';

export const apiSection = z
  .strictObject({
    folder: z
      .string()
      .min(1)
      .exactOptional()
      .describe(
        "where recordings and HLS outputs that are made by `/api/admin` or the operations page lie, a folder an output; the user's state folder without it",
      ),
  })
  .describe('Operation over HTTP (docs/admin.md)');
