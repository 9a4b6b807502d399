import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { AppError } from '../errors.ts';
import { jobRecord, type JobRecord } from './job.ts';

const RECORD = 'job.json';
const OWNER = 'owner';
const ID = /^[0-9a-f]{24}$/;
/** For the owner alone: people's films. */
const PRIVATE_FOLDER = 0o700;
/** What the disk keeps free for others. */
const LEAST_FREE_BYTES = 500_000_000;

/** The jobs' folder: a folder a job with its record, its file and its result. One server has it at a time. */
export class JobStore {
  readonly #folder: string;
  #taken = false;

  constructor(folder: string) {
    this.#folder = path.resolve(folder);
  }

  inputOf(id: string): string {
    return path.join(this.#folder, id, 'input');
  }

  resultOf({ id, result }: Pick<JobRecord, 'id' | 'result'>): string {
    return path.join(this.#folder, id, `result.${result}`);
  }

  /** What a server before this one has left; a job without a readable record, an upload that was cut, is removed. @throws AppError */
  read(): JobRecord[] {
    const ids = this.#ids();
    if (ids.length === 0) return [];
    this.#take();
    return ids.flatMap((id) => {
      const record = this.#record(id);
      if (record === undefined) this.remove(id);
      return record ?? [];
    });
  }

  /** For a new job. @throws AppError file.unwritable | job.disk */
  make(id: string, bytes: number): void {
    try {
      mkdirSync(this.#folder, { recursive: true, mode: PRIVATE_FOLDER });
      this.#take();
      const { bavail, bsize } = statfsSync(this.#folder);
      if (bavail * bsize < LEAST_FREE_BYTES + bytes) throw new AppError('job.disk', 'The disk of the jobs is full.');
      mkdirSync(path.join(this.#folder, id), { mode: PRIVATE_FOLDER });
    } catch (cause) {
      if (cause instanceof AppError) throw cause;
      throw new AppError('file.unwritable', `${this.#folder} cannot keep jobs: ${(cause as Error).message}`, {
        cause,
        remedy: 'Make the folder writable, or name another one by jobs.folder.',
      });
    }
  }

  /** In one step: a server that is killed leaves the old record or the new one. @throws the system's error */
  write(record: JobRecord): void {
    const file = path.join(this.#folder, record.id, RECORD);
    writeFileSync(`${file}.new`, JSON.stringify(record));
    renameSync(`${file}.new`, file);
  }

  removeInput(id: string): void {
    rmSync(this.inputOf(id), { force: true });
  }

  remove(id: string): void {
    rmSync(path.join(this.#folder, id), { recursive: true, force: true });
  }

  release(): void {
    if (this.#taken) rmSync(path.join(this.#folder, OWNER), { force: true });
    this.#taken = false;
  }

  #ids(): string[] {
    try {
      return readdirSync(this.#folder).filter((name) => ID.test(name));
    } catch {
      return [];
    }
  }

  #record(id: string): JobRecord | undefined {
    try {
      const record = jobRecord.parse(JSON.parse(readFileSync(path.join(this.#folder, id, RECORD), 'utf8')));
      return record.id === id ? record : undefined;
    } catch {
      return undefined;
    }
  }

  /** Two servers would run each other's jobs. @throws AppError file.unwritable */
  #take(): void {
    if (this.#taken) return;
    const file = path.join(this.#folder, OWNER);
    const owner = ownerOf(file);
    if (owner !== undefined && owner !== process.pid && isAlive(owner)) {
      throw new AppError('file.unwritable', `${this.#folder} belongs to process ${owner}, which runs.`, {
        remedy: `Name another folder by jobs.folder, or remove ${file} if no server has that number.`,
      });
    }
    writeFileSync(file, String(process.pid));
    this.#taken = true;
  }
}

function ownerOf(file: string): number | undefined {
  try {
    const pid = Number(readFileSync(file, 'utf8'));
    return Number.isInteger(pid) && pid > 0 ? pid : undefined;
  } catch {
    return undefined;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
