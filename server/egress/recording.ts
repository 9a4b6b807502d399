import { MuxedOutput } from './muxed-output.ts';
import type { OutputKind, OutputRun, RunRequest } from './output-kind.ts';
import { recordingStem, type RecordingConfig } from './recording-name.ts';
import { makeFolder, ProcessByOutput } from './shared-process.ts';

/** Recordings: files in a folder. */
export class RecordingKind implements OutputKind<RecordingConfig> {
  readonly #processes = new ProcessByOutput();

  prepare(output: RecordingConfig): void {
    makeFolder(output);
  }

  open({ id, output, broadcast, subscription, events }: RunRequest<RecordingConfig>): OutputRun {
    const { name, folder, container, rotateSeconds, rotateBytes, track } = output;
    const process = this.#processes.of(name, `the recording "${name}"`);
    const stem = recordingStem(broadcast, name);
    const target = { kind: 'recording', folder, stem, container, rotateSeconds, rotateBytes } as const;
    const codec = container === 'webm' ? 'VP8' : 'H264';
    return new MuxedOutput({ id, kind: 'recorder', track, codec, process, target }, subscription, events);
  }
}
