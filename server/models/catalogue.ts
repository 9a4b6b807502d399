import { existsSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { AppError } from '../errors.ts';
import { readManifest, type Manifest } from './manifest.ts';

/** The models on this machine: where they lie, what they are called, and the one list of them. */

/** Models that come with the repository, one folder each. */
const SHIPPED_MODELS = fileURLToPath(new URL('../../models/', import.meta.url));
/** Models imported or downloaded on this machine. */
export const LOCAL_MODELS = path.join(SHIPPED_MODELS, 'local/');

/** Folders that hold models, one folder each. */
export function modelRoots(): string[] {
  return [SHIPPED_MODELS, LOCAL_MODELS];
}

/** A model's name is its folder's: no separators, nothing hidden. @throws AppError config.invalid */
export function modelFolder(modelsFolder: string, name: string): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name)) {
    throw new AppError(
      'config.invalid',
      `The model name ${JSON.stringify(name.slice(0, 80))} must be 1 to 64 letters, digits, dots, dashes or underscores.`,
      { scope: 'request', remedy: 'Choose another --name.' },
    );
  }
  return path.join(modelsFolder, name);
}

export interface AvailableModel {
  readonly name: string;
  readonly folder: string;
  readonly manifest: Manifest;
}

/** Every model with a readable manifest. Broken ones are left out here; naming one reports what is wrong with it. */
export function availableModels(roots: readonly string[] = modelRoots()): AvailableModel[] {
  return roots.flatMap((root) => {
    if (!existsSync(root)) return [];
    return readdirSync(root, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .flatMap((entry) => {
        const folder = path.join(root, entry.name);
        try {
          const manifest = readManifest(folder);
          return manifest === undefined ? [] : [{ name: entry.name, folder, manifest }];
        } catch {
          return [];
        }
      });
  });
}

/** A line of the list. */
export interface ModelRow {
  readonly name: string;
  readonly kind: Manifest['kind'];
  /** Scale of an ONNX model, variant of a FlashVSR model. */
  readonly detail: string;
  /** What it is and when it is used, for people. */
  readonly about: string;
  readonly mib: number;
  readonly folder: string;
}

export function modelRows(roots: readonly string[] = modelRoots()): ModelRow[] {
  return availableModels(roots).map(({ name, folder, manifest }) => {
    const { kind, file } = manifest;
    const size = statSync(path.join(folder, file), { throwIfNoEntry: false })?.size ?? 0;
    const detail = kind === 'onnx' ? `x${manifest.scale}` : manifest.variant;
    return { name, kind, detail, about: about(manifest), mib: size / 2 ** 20, folder };
  });
}

function about(manifest: Manifest): string {
  if (manifest.kind === 'flashvsr') return `FlashVSR, ${manifest.label ?? manifest.name}`;
  const { scale, fallbacks = [], auto, gpu, licence } = manifest;
  const parts = [
    `ONNX x${scale}`,
    ...(auto ? [`auto for --scale ${scale}`] : []),
    ...(gpu ? [`auto for --scale ${scale} on a GPU`] : []),
    ...(fallbacks.length > 0 ? [`under overload ${[...fallbacks, 'resize'].join(', then ')}`] : []),
    ...(licence === undefined ? [] : [licence]),
  ];
  return parts.join('; ');
}

const sizeOf = ({ mib }: ModelRow): string => `${mib < 10 ? mib.toFixed(1) : Math.round(mib)} MiB`;

/** `models list`: name, size, description and folder, in columns. */
export function modelTable(rows: readonly ModelRow[]): string[] {
  return columns(rows.map((row) => [row.name, sizeOf(row), row.about, row.folder]));
}

/** `npm start -- --model` without a name: what a name may be. */
export function modelHelp(roots: readonly string[] = modelRoots()): string {
  const rows = modelRows(roots);
  const words: readonly (readonly string[])[] = [
    ['auto', 'the default: an imported FlashVSR where CUDA is usable, else the model below marked "auto", else resize'],
    ['resize', 'bicubic or Lanczos by --model.filter, any --scale; no super-resolution'],
    ...rows.map(({ name, about: what }) => [name, what]),
    ['flashvsr-synthetic', 'FlashVSR with random weights, for measuring'],
    ['FOLDER or FILE', 'a folder with a manifest.json, or an .onnx file'],
  ];
  return [
    'Models for --model:',
    ...columns(words).map((line) => `  ${line}`),
    ...(rows.some(({ kind }) => kind === 'flashvsr')
      ? []
      : ['FlashVSR is not here yet: npm run cli -- models pull flashvsr-v1.1']),
  ].join('\n');
}

function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
