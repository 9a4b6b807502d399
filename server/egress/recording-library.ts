import { lstat, readdir } from 'node:fs/promises';
import path from 'node:path';
import { parseRecordingName, type RecordingConfig, type RecordingName } from './recording-name.ts';

/** One recording on the disk. */
export interface Recording extends RecordingName {
  readonly file: string;
  readonly url: string;
  readonly track: 'result' | 'source';
  readonly bytes: number;
  readonly open: boolean;
}

/** What the library needs of OutputService. */
export interface RecordingOutputs {
  /** Stopped ones included. */
  configsOf(type: 'recording'): readonly RecordingConfig[];
  /** File names that are being written. */
  openFiles(): ReadonlySet<string>;
}

/** A folder may hold years: the newest of them are listed. */
const MAX_LISTED = 1000;

/** The files in the folders of the configured recordings: those whose name says that an output of that folder wrote them. */
export class RecordingLibrary {
  readonly #outputs: RecordingOutputs;

  constructor(outputs: RecordingOutputs) {
    this.#outputs = outputs;
  }

  /** Newest first. A folder that cannot be read has none. */
  async list(): Promise<Recording[]> {
    const open = this.#outputs.openFiles();
    const found = await Promise.all(this.#outputs.configsOf('recording').map((output) => named(output)));
    const newest = found
      .flat()
      .sort((a, b) => b.name.startedAt.localeCompare(a.name.startedAt) || b.file.localeCompare(a.file))
      .slice(0, MAX_LISTED);
    const listed = await Promise.all(
      newest.map(async ({ file, name, output: { folder, track } }): Promise<Recording | undefined> => {
        const bytes = await sizeOf(path.join(folder, file));
        if (bytes === undefined) return undefined;
        return { file, url: `/recordings/${encodeURIComponent(file)}`, ...name, track, bytes, open: open.has(file) };
      }),
    );
    return listed.filter((each) => each !== undefined);
  }

  /** @returns the broadcast that a file's name says; undefined for names of no recording */
  broadcastOf(file: string): string | undefined {
    return parseRecordingName(file)?.broadcast;
  }

  /** @returns the path of a recording; undefined when its name is none, or no output of that name writes to a folder with it */
  async find(file: string): Promise<string | undefined> {
    const name = parseRecordingName(file);
    const output = this.#outputs.configsOf('recording').find((each) => each.name === name?.output);
    if (output === undefined) return undefined;
    const full = path.join(path.resolve(output.folder), file);
    return (await sizeOf(full)) === undefined ? undefined : full;
  }
}

interface Named {
  readonly file: string;
  readonly name: RecordingName;
  readonly output: RecordingConfig;
}

async function named(output: RecordingConfig): Promise<Named[]> {
  const files = await readdir(path.resolve(output.folder)).catch(() => []);
  return files.flatMap((file) => {
    const name = parseRecordingName(file);
    return name?.output === output.name ? [{ file, name, output }] : [];
  });
}

async function sizeOf(file: string): Promise<number | undefined> {
  const found = await lstat(file).catch(() => undefined);
  return found?.isFile() === true ? found.size : undefined;
}
