import { createHash } from 'node:crypto';
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  readdirSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import type { FileCodec } from '../codec/containers.ts';
import { SegmentStore } from '../codec/segment-store.ts';
import { STANDARD } from '../codec/standard-streams.ts';
import { AppError } from '../errors.ts';
import type { OnnxModel, UpscalerSpec } from '../upscalers/spec.ts';
import { VERSION } from '../version.ts';
import type { Input } from './file-names.ts';
import { isAddress } from './input-name.ts';
import { MANIFEST, type KeepPlace } from './kept-folder.ts';

/** What a run finds of one that was stopped, and where it keeps its own finished frames. */
export interface KeptWork {
  readonly segments: SegmentStore;
  /** Of the encoder, whose result depends on it a little. */
  readonly threads: number;
}

export interface KeptJob {
  readonly input: Input;
  readonly output: string;
  readonly spec: UpscalerSpec;
  readonly options: {
    readonly crf: number;
    readonly preset: string;
    readonly codec?: FileCodec | undefined;
    readonly rate?: number | undefined;
    readonly trim?: { readonly startSeconds: number; readonly endSeconds: number | null } | undefined;
    readonly keepInterlaced?: boolean;
  };
}

/** The names are the ones that a person is shown where they differ. */
interface Manifest {
  readonly threads: number;
  readonly made: Readonly<Record<string, string>>;
}

/** @throws AppError file.unwritable when what is kept was made of another input, or with other flags */
export async function openKept(place: KeepPlace | undefined, job: KeptJob): Promise<KeptWork | undefined> {
  if (place === undefined) return undefined;
  const { folder } = place;
  const file = path.join(folder, MANIFEST);
  const made = madeOf(job);
  let manifest = read(file);
  if (manifest === undefined) {
    manifest = { threads: availableParallelism(), made };
    try {
      mkdirSync(folder, { recursive: true });
      writeFileSync(`${file}.unfinished`, JSON.stringify(manifest, null, 2));
      renameSync(`${file}.unfinished`, file);
    } catch (cause) {
      throw new AppError('file.unwritable', `${job.output} cannot be written: ${(cause as Error).message}.`, { cause });
    }
  }
  for (const [name, value] of Object.entries(made)) {
    const before = manifest.made[name] ?? 'not known';
    if (before !== value) throw otherJob(job.output, folder, name, { before, now: value });
  }
  return { segments: await SegmentStore.open(folder), threads: manifest.threads };
}

function otherJob(
  output: string,
  folder: string,
  name: string,
  { before, now }: { before: string; now: string },
): AppError {
  return new AppError(
    'file.unwritable',
    `The frames kept of ${output} are not of this run: ${name} was ${before}, now it is ${now}.`,
    {
      context: { file: output, folder, name, before, now },
      remedy:
        'Give the same input and flags as then, or --overwrite without --resume to remove the kept frames and start again.',
    },
  );
}

function read(file: string): Manifest | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
  try {
    const { threads, made } = JSON.parse(text) as Partial<Manifest>;
    if (typeof threads === 'number' && typeof made === 'object') return { threads, made };
  } catch {
    // Below: of a manifest that cannot be read nothing is known.
  }
  return { threads: 1, made: {} };
}

/** Everything that the pictures depend on. Sound, subtitles and description are read again and may change. */
function madeOf({ input, output, spec, options }: KeptJob): Record<string, string> {
  const { crf, preset, codec = 'by itself', rate = 25, trim, keepInterlaced = false } = options;
  return {
    'the version of this program': VERSION,
    'the input': inputStamp(input),
    'the model': modelStamp(spec),
    '--crf': String(crf),
    '--preset': preset,
    '--codec': codec,
    '--rate': String(rate),
    '--trim': trim === undefined ? 'all of it' : `${trim.startSeconds}-${trim.endSeconds ?? ''}`,
    '--keep-interlaced': keepInterlaced ? 'on' : 'off',
    "the result's ending": path.extname(output).toLowerCase(),
  };
}

function inputStamp(input: Input): string {
  if (input.kind === 'pictures') {
    const stamps = input.files.map((file) => `${path.basename(file)} ${stampOf(file)}`);
    return `${stamps.length} pictures (${digest(stamps.join('\n'))})`;
  }
  // Of an address the times of the pictures are compared, while they are read.
  return input.file === STANDARD || isAddress(input.file) ? input.file : stampOf(input.file);
}

function modelStamp(spec: UpscalerSpec): string {
  switch (spec.kind) {
    case 'resize':
      return `resize x${spec.scale}, ${spec.filter}`;
    case 'onnx':
      return `${spec.model.label} (${digest(JSON.stringify([spec.model, onnxStamp(spec.model)]))})`;
    case 'flashvsr': {
      const { model, label, device, scale, sparseRatio, localRange, kvRatio, seed, colourMatch, precision, decoder } =
        spec;
      const settings = [device, scale, sparseRatio, localRange, kvRatio, seed, colourMatch, precision, decoder];
      const weights = model.kind === 'synthetic' ? model.path : stampOf(model.path);
      return `${label} (${digest(JSON.stringify([settings, weights]))})`;
    }
  }
}

function onnxStamp({ file, sha256 }: OnnxModel): string {
  return sha256 ?? stampOf(file);
}

/** Size, time of the last change, and a digest of the first and the last megabyte; of a folder, those of its files. */
function stampOf(file: string): string {
  const found = statSync(file, { throwIfNoEntry: false });
  if (found === undefined) return 'gone';
  if (found.isDirectory()) {
    const names = readdirSync(file).sort();
    return digest(names.map((name) => `${name} ${stampOf(path.join(file, name))}`).join('\n'));
  }
  const hash = createHash('sha256');
  const descriptor = openSync(file, 'r');
  try {
    const bytes = Buffer.alloc(Math.min(found.size, 2 ** 20));
    for (const at of [0, found.size - bytes.length])
      hash.update(bytes.subarray(0, readSync(descriptor, bytes, 0, bytes.length, at)));
  } finally {
    closeSync(descriptor);
  }
  return `${found.size} bytes of ${found.mtime.toISOString()} (${hash.digest('hex').slice(0, 16)})`;
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}
