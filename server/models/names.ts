import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { AppError } from '../errors.ts';

/** Models imported or downloaded on this machine; one of the roots that --model looks in (server/models/resolve.ts). */
export const LOCAL_MODELS = fileURLToPath(new URL('../../models/local/', import.meta.url));

/** A model's name is its folder's: no separators, nothing hidden. @throws AppError config.invalid */
export function modelFolder(modelsFolder: string, name: string): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name)) {
    throw new AppError(
      'config.invalid',
      `The model name ${JSON.stringify(name.slice(0, 80))} must be 1 to 64 letters, digits, dots, dashes or underscores.`,
      { scope: 'request', remedy: 'Choose another --name.' },
    );
  }
  return path.join(modelsFolder, name);
}
