import { closeSync, openSync, statSync, fstatSync, unlinkSync } from 'node:fs';
import path from 'node:path';
import { AppError } from '../../errors.ts';
import { recordingStamp } from '../recording-name.ts';
import type { RecordingTarget } from './messages.ts';

/** Files of one second with one name: more than that is a defect. */
const MAX_NUMBER = 100;

/** A new file: reserved by its name, then written by libav. */
export class RecordingFile {
  readonly path: string;
  readonly name: string;
  readonly #inode: number;

  private constructor(file: string, inode: number) {
    this.path = file;
    this.name = path.basename(file);
    this.#inode = inode;
  }

  /** Never an existing file. @throws AppError output.disk */
  static reserve({ folder, stem }: RecordingTarget, ending: string, date: Date): RecordingFile {
    const base = path.join(path.resolve(folder), `${stem}_${recordingStamp(date)}`);
    for (let number = 1; number <= MAX_NUMBER; number += 1) {
      const file = `${base}${number === 1 ? '' : `-${number}`}.${ending}`;
      try {
        const descriptor = openSync(file, 'wx', 0o644);
        const { ino } = fstatSync(descriptor);
        closeSync(descriptor);
        return new RecordingFile(file, ino);
      } catch (cause) {
        const { code, message } = cause as NodeJS.ErrnoException;
        if (code !== 'EEXIST') throw diskError(folder, code ?? message, cause);
      }
    }
    throw diskError(folder, 'EEXIST', undefined);
  }

  /** A file whose folder was removed, or whose disk was unmounted, takes bytes that none will see. @throws AppError output.disk */
  check(): void {
    try {
      if (statSync(this.path).ino === this.#inode) return;
    } catch (cause) {
      throw diskError(path.dirname(this.path), (cause as NodeJS.ErrnoException).code ?? '', cause);
    }
    throw diskError(path.dirname(this.path), 'ESTALE', undefined);
  }

  /** Of a file in which nothing was written. */
  remove(): void {
    try {
      unlinkSync(this.path);
    } catch {
      // Its folder is gone, and the file with it.
    }
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'the folder or the file in it is gone',
  ESTALE: 'another file lies in its place',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the quota is used up',
  EACCES: 'this user may not write there',
  EPERM: 'this user may not write there',
  EROFS: 'the disk is read-only',
  EIO: 'the disk reports an error',
  ENOTDIR: 'it is no folder',
  EMFILE: 'the process has too many open files',
};

/** @param reason an errno's name, or a sentence */
export function diskError(folder: string, reason: string, cause: unknown): AppError {
  return new AppError('output.disk', `Nothing can be written to ${folder}: ${REASONS[reason] ?? reason}.`, {
    context: { folder, reason },
    cause,
  });
}
