import { AV_LOG_QUIET } from 'node-av/constants';
import { FFmpegError, Log } from 'node-av/lib';
import { AppError, type AppErrorOptions, type ErrorCode } from '../errors.ts';

/**
 * The door to node-av (FFmpeg in process). Every file of this room imports from here first, so that libav's own log,
 * which is process-wide and would print a line per broken packet of any publisher, is off before the first codec opens.
 */
Log.setLevel(AV_LOG_QUIET);

/** libav's text for a negative return code, for example "Invalid data found when processing input". */
export function libavMessage(code: number): string {
  return FFmpegError.strerror(code);
}

/** Turns a negative libav return code into an AppError that names the operation; passes others through. */
export function check(code: number, operation: string, error: ErrorCode, options: AppErrorOptions = {}): number {
  if (code >= 0) return code;
  throw new AppError(error, `${operation} failed: ${libavMessage(code)}`, {
    ...options,
    context: { ...options.context, operation, libavCode: code },
  });
}
