import { AppError } from '../errors.ts';

/** Writes what went wrong and what to do; a stack only for defects. */
export function reportError(thrown: unknown): void {
  const error = AppError.from(thrown);
  process.stderr.write(`${error.message}\n${error.remedy}\n`);
  if (error.code === 'internal') process.stderr.write(`${error.stack ?? ''}\n`);
}
