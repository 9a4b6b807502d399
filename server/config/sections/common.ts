import { z } from 'zod';

/** Checks that several sections share. The page reads types through here (`IceServer`): nothing of Node is imported. */
export const port = z.number().int().min(0).max(65_535);
export const positive = z.number().positive();
export const count = z.number().int().positive();

/** As broadcast/name.ts has it, which the configuration cannot import; a test holds the two together. */
const PART = '[A-Za-z0-9][A-Za-z0-9._-]{0,63}';
export const broadcastNameText = z
  .string()
  .regex(new RegExp(`^${PART}(/${PART})?$`), 'must be a broadcast\'s name such as "stage" or "room/participant"');

/** What `Authorization: Bearer` can carry (RFC 6750 section 2.1). */
export const bearerToken = z
  .string()
  .regex(/^[\w\-.~+/]{1,4096}=*$/, 'must be one token of letters, digits and -._~+/=');
