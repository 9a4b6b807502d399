import { libavMessage } from '../../codec/native.ts';
import { AppError } from '../../errors.ts';
import { MuxError } from './container-writer.ts';
import type { MuxTarget } from './messages.ts';
import { diskError } from './recording-file.ts';

/** AVERROR(errno) is its negative. */
const ERRNO: Readonly<Record<number, string>> = {
  1: 'EPERM',
  2: 'ENOENT',
  5: 'EIO',
  13: 'EACCES',
  24: 'EMFILE',
  28: 'ENOSPC',
  30: 'EROFS',
  116: 'ESTALE',
  122: 'EDQUOT',
};

/** What ended a session, as an error that says what to do. */
export function failureOf(thrown: unknown, target: MuxTarget): AppError {
  if (!(thrown instanceof MuxError)) return AppError.from(thrown);
  if (target.kind === 'push') return pushError(thrown, target.label);
  if (target.kind === 'camera') return cameraError(thrown, target.device);
  return diskError(target.folder, ERRNO[-thrown.code] ?? libavMessage(thrown.code), thrown);
}

const STEPS: Readonly<Record<MuxError['step'], string>> = {
  open: 'cannot be reached',
  header: 'cannot be reached or does not take the stream',
  write: 'was lost',
  trailer: 'was lost at the end',
};

function pushError(cause: MuxError, label: string): AppError {
  const reason = libavMessage(cause.code);
  return new AppError('output.target', `${label} ${STEPS[cause.step]}: ${reason}.`, { cause, context: { reason } });
}

function cameraError(cause: MuxError, device: string): AppError {
  const reason = ERRNO[-cause.code] ?? libavMessage(cause.code);
  const what = cause.step === 'write' ? 'takes no more pictures' : 'cannot be opened as a camera to write to';
  return new AppError('output.target', `${device} ${what}: ${reason}.`, {
    cause,
    context: { device, reason },
    remedy: 'Load v4l2loopback, or set `device` to its device (docs/webcam.md); it is tried again.',
  });
}
