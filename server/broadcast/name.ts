import { z } from 'zod';

/** A broadcast's name: part of links and metrics labels. */
export const broadcastName = z
  .string()
  .min(1)
  .max(64)
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]*$/,
    'letters, digits, dot, dash and underscore only, starting with a letter or digit',
  );
