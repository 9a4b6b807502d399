import { z } from 'zod';

/** What is written, and in which form. */
export const logSection = z.strictObject({
  level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']).default('info'),
  /** `auto`: text on a terminal, JSON lines otherwise. */
  format: z.enum(['auto', 'text', 'json']).default('auto'),
});
