import { hlsFolder } from './hls-files.ts';
import { HlsSweeper } from './hls-sweeper.ts';
import { MuxedOutput } from './muxed-output.ts';
import type { OutputKind, OutputRun, RunRequest } from './output-kind.ts';
import { makeFolder, ProcessByOutput } from './shared-process.ts';
import type { OutputOf } from '../config/config.ts';

/** HLS: a playlist and its segments in a folder, which the server offers under /hls/ until some time after the broadcast. */
export class HlsKind implements OutputKind<OutputOf<'hls'>> {
  readonly #processes = new ProcessByOutput();
  readonly #sweeper: HlsSweeper;

  constructor(sweeper = new HlsSweeper()) {
    this.#sweeper = sweeper;
  }

  prepare(output: OutputOf<'hls'>): void {
    makeFolder(output);
    this.#sweeper.watch(output);
  }

  open({ id, output, broadcast, subscription, events }: RunRequest<OutputOf<'hls'>>): OutputRun {
    const { name, segmentSeconds, window, track } = output;
    const process = this.#processes.of(name, `the HLS output "${name}"`);
    const folder = hlsFolder(output.folder, broadcast);
    const target = this.#sweeper.hold(folder).then(() => ({ kind: 'hls', folder, segmentSeconds, window }) as const);
    const onClosed = (): void => this.#sweeper.release(folder);
    return new MuxedOutput(
      { id, kind: 'relay', track, codec: 'H264', process, target, onClosed },
      subscription,
      events,
    );
  }

  close(): Promise<void> {
    this.#sweeper.close();
    return Promise.resolve();
  }
}
