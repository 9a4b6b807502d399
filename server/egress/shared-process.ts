import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { AppError } from '../errors.ts';
import { MuxerProcess } from './muxer/muxer-process.ts';

/** All broadcasts of an output that writes to a folder share a process, because they share its disk. */
export class ProcessByOutput {
  readonly #processes = new Map<string, MuxerProcess>();

  of(output: string, label: string): MuxerProcess {
    let process = this.#processes.get(output);
    if (process === undefined) {
      process = new MuxerProcess({ label });
      this.#processes.set(output, process);
    }
    return process;
  }
}

/**
 * Makes an output's folder, once: one that vanishes later was a disk, and the space under it is another's.
 * @throws AppError config.invalid
 */
export function makeFolder({ name, folder }: { readonly name: string; readonly folder: string }): void {
  try {
    mkdirSync(path.resolve(folder), { recursive: true });
  } catch (cause) {
    const reason = (cause as Error).message;
    throw new AppError('config.invalid', `The folder ${folder} of the output "${name}" cannot be made: ${reason}.`, {
      cause,
    });
  }
}
