import { z } from 'zod';
import { parseNetwork } from '../../access/client-address.ts';

/** Checks that several sections share. */
export const port = z.number().int().min(0).max(65_535);
export const positive = z.number().positive();
export const count = z.number().int().positive();
export const network = z
  .string()
  .refine((text) => parseNetwork(text) !== undefined, 'must be an address or a network such as 10.0.0.0/8');

/** As broadcast/name.ts has it, which the configuration cannot import; a test holds the two together. */
const PART = '[A-Za-z0-9][A-Za-z0-9._-]{0,63}';
export const broadcastNameText = z
  .string()
  .regex(new RegExp(`^${PART}(/${PART})?$`), 'must be a broadcast\'s name such as "stage" or "room/participant"');
