import path from 'node:path';
import type { OutputOf } from '../config/config.ts';

export const HLS_PLAYLIST = 'index.m3u8';
export const HLS_SEGMENT = /^\d{10,12}\.ts$/;

/** A broadcast's folder in that of its output; the slash of `room/participant` becomes `~`, which no name has. */
export function hlsFolder(folder: string, broadcast: string): string {
  return path.join(path.resolve(folder), broadcast.replaceAll('/', '~'));
}

/** Where the files of HLS outputs lie. */
export class HlsFiles {
  readonly #outputs: () => readonly OutputOf<'hls'>[];

  /** @param outputs stopped ones included */
  constructor(outputs: () => readonly OutputOf<'hls'>[]) {
    this.#outputs = outputs;
  }

  /** @param broadcast a valid name @returns undefined for what no output writes */
  find(output: string, broadcast: string, file: string): string | undefined {
    const found = this.#outputs().find(({ name }) => name === output);
    if (found === undefined || (file !== HLS_PLAYLIST && !HLS_SEGMENT.test(file))) return undefined;
    return path.join(hlsFolder(found.folder, broadcast), file);
  }
}
