import { z } from 'zod';

export const logSection = z
  .strictObject({
    level: z
      .enum(['trace', 'debug', 'info', 'warn', 'error', 'silent'])
      .default('info')
      .describe('the least that is written'),
    format: z
      .enum(['auto', 'text', 'json'])
      .default('auto')
      .describe('`auto`: text on a terminal, JSON lines otherwise'),
  })
  .describe('What is written, and in which form');
