import { z } from 'zod';
import { parseNetwork } from '../../access/client-address.ts';

export const network = z
  .string()
  .refine((text) => parseNetwork(text) !== undefined, 'must be an address or a network such as 10.0.0.0/8');
