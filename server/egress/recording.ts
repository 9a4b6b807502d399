import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { AppError } from '../errors.ts';
import { MuxedOutput } from './muxed-output.ts';
import { MuxerProcess } from './muxer/muxer-process.ts';
import type { OutputKind, OutputRun, RunRequest } from './output-kind.ts';
import { recordingStem, type RecordingConfig } from './recording-name.ts';

/** Recordings: files in a folder. All broadcasts of one output share a process, because they share a disk. */
export class RecordingKind implements OutputKind<RecordingConfig> {
  readonly #processes = new Map<string, MuxerProcess>();

  /** Makes the folder, once: one that vanishes later was a disk, and the space under it is another's. */
  prepare({ name, folder }: RecordingConfig): void {
    try {
      mkdirSync(path.resolve(folder), { recursive: true });
    } catch (cause) {
      const reason = (cause as Error).message;
      throw new AppError('config.invalid', `The folder ${folder} of the output "${name}" cannot be made: ${reason}.`, {
        cause,
      });
    }
  }

  open({ id, output, broadcast, subscription, events }: RunRequest<RecordingConfig>): OutputRun {
    const { name, folder, container, rotateSeconds, rotateBytes, track } = output;
    let process = this.#processes.get(name);
    if (process === undefined) {
      process = new MuxerProcess({ label: `the recording "${name}"` });
      this.#processes.set(name, process);
    }
    const stem = recordingStem(broadcast, name);
    return new MuxedOutput(
      {
        id,
        kind: 'recorder',
        track,
        codec: container === 'webm' ? 'VP8' : 'H264',
        process,
        target: { kind: 'recording', folder, stem, container, rotateSeconds, rotateBytes },
      },
      subscription,
      events,
    );
  }
}
