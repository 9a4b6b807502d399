import { z } from 'zod';

/** Checks that several sections share. */
export const port = z.number().int().min(0).max(65_535);
export const positive = z.number().positive();
export const count = z.number().int().positive();
