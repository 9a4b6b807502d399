import { AppError } from '../errors.ts';

/** Writes what went wrong and what to do; a stack only for defects, and one line for what the user stopped. */
export function reportError(thrown: unknown): void {
  const error = AppError.from(thrown);
  process.stderr.write(`${error.message}\n`);
  if (error.code !== 'job.stopped') process.stderr.write(`${error.remedy}\n`);
  if (error.code === 'internal') process.stderr.write(`${error.stack ?? ''}\n`);
}

/** 128 + the signal's number for a job that a signal stopped, 1 for all else. */
export function exitCodeFor(thrown: unknown): number {
  const { exitCode } = AppError.from(thrown).context;
  return AppError.from(thrown).code === 'job.stopped' && typeof exitCode === 'number' ? exitCode : 1;
}
