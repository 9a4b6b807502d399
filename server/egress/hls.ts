import { hlsFolder } from './hls-files.ts';
import { MuxedOutput } from './muxed-output.ts';
import type { OutputKind, OutputRun, RunRequest } from './output-kind.ts';
import { makeFolder, ProcessByOutput } from './shared-process.ts';
import type { OutputOf } from '../config/config.ts';

/** HLS: a playlist and its segments in a folder, which the server offers under /hls/. */
export class HlsKind implements OutputKind<OutputOf<'hls'>> {
  readonly #processes = new ProcessByOutput();

  prepare(output: OutputOf<'hls'>): void {
    makeFolder(output);
  }

  open({ id, output, broadcast, subscription, events }: RunRequest<OutputOf<'hls'>>): OutputRun {
    const { name, folder, segmentSeconds, window, track } = output;
    const process = this.#processes.of(name, `the HLS output "${name}"`);
    const target = { kind: 'hls', folder: hlsFolder(folder, broadcast), segmentSeconds, window } as const;
    return new MuxedOutput({ id, kind: 'relay', track, codec: 'H264', process, target }, subscription, events);
  }
}
