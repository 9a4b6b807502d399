import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { AppError } from '../errors.ts';
import type { OnnxModel } from '../upscalers/spec.ts';

/**
 * manifest.json beside a model's files, of every kind. Only what the server needs is named here; sources and training are there
 * for people, so other keys are allowed.
 */

export const MANIFEST_FILE = 'manifest.json';

const sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 lower-case hexadecimal digits');
const bytes = z.number().int().nonnegative();
const fileOfFolder = z
  .string()
  .refine((file) => file !== '' && path.basename(file) === file, 'must be a file of this folder');

const onnxManifest = z.looseObject({
  kind: z.literal('onnx'),
  name: z.string().min(1),
  /** Name for people; `name` when absent. */
  label: z.string().min(1).optional(),
  file: z.string().min(1),
  scale: z.number().int().min(1).max(8),
  /** Of `file`, checked whenever the model is loaded. */
  sha256: sha256.optional(),
  bytes: bytes.optional(),
  /** `--model auto` takes this model for its scale. */
  auto: z.boolean().default(false),
  /** Made for a GPU: `--model auto` takes it for its scale where one is there and fast enough. */
  gpu: z.boolean().default(false),
  valueRange: z
    .tuple([z.number(), z.number()])
    .refine(([black, white]) => white !== black, 'both ends are the same')
    .default([0, 1]),
  layout: z.enum(['rgb', 'yuv420p']).optional(),
  sizeMultiple: z.number().int().min(1).max(256).optional(),
  recurrentState: z
    .array(
      z.looseObject({
        input: z.string().min(1),
        output: z.string().min(1),
        divisor: z.number().int().min(1).max(64).optional(),
      }),
    )
    .optional(),
  /** Names of cheaper models beside this one, for the overload ladder; best first. */
  fallbacks: z.array(z.string().min(1)).optional(),
  licence: z.string().optional(),
});

/** As the native importer writes it (native/weights/importer.cpp). */
const flashVsrManifest = z.looseObject({
  kind: z.literal('flashvsr'),
  formatVersion: z.literal(1),
  name: z.string().min(1),
  label: z.string().min(1).optional(),
  variant: z.enum(['v1', 'v1.1']),
  origin: z.string(),
  licence: z.string(),
  createdAt: z.string(),
  file: fileOfFolder,
  bytes,
  sha256,
  /** The official files it was made from. */
  sources: z.array(
    z.looseObject({
      part: z.enum(['transformer', 'projector', 'decoder', 'prompt', 'wan']),
      file: z.string(),
      bytes,
      sha256,
    }),
  ),
});

const manifestSchema = z.discriminatedUnion('kind', [onnxManifest, flashVsrManifest]);

export type Manifest = z.infer<typeof manifestSchema>;
export type OnnxManifest = z.infer<typeof onnxManifest>;
export type FlashVsrManifest = z.infer<typeof flashVsrManifest>;

/** @param file for the message @throws AppError model.invalid */
export function parseManifest(text: string, file: string): Manifest {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new AppError('model.invalid', `${file} is not valid JSON: ${(cause as Error).message}`, {
      cause,
      context: { file },
    });
  }
  const parsed = manifestSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `${issue.path.join('.') || '(top level)'}: ${issue.message}`);
  throw new AppError('model.invalid', `${file} is not a model manifest: ${problems.join('; ')}`, { context: { file } });
}

/** @returns undefined when the folder has no manifest. @throws AppError model.invalid */
export function readManifest(folder: string): Manifest | undefined {
  const file = path.join(folder, MANIFEST_FILE);
  return existsSync(file) ? parseManifest(readFileSync(file, 'utf8'), file) : undefined;
}

/** The runnable model of a folder. @throws AppError model.invalid when the file it names is missing */
export function onnxModelOf(folder: string, manifest: OnnxManifest): OnnxModel {
  const file = path.resolve(folder, manifest.file);
  if (!existsSync(file)) {
    const what = `${path.join(folder, MANIFEST_FILE)} names ${manifest.file}, which is not there.`;
    throw new AppError('model.invalid', what, { context: { file } });
  }
  const { label, name, valueRange, layout, scale, sha256: hash, sizeMultiple, recurrentState } = manifest;
  return {
    file,
    label: label ?? name,
    valueRange,
    scale,
    ...(hash === undefined ? {} : { sha256: hash }),
    ...(layout === undefined ? {} : { layout }),
    ...(sizeMultiple === undefined ? {} : { sizeMultiple }),
    ...(recurrentState === undefined
      ? {}
      : {
          recurrentState: recurrentState.map(({ input, output, divisor }) => ({
            input,
            output,
            ...(divisor === undefined ? {} : { divisor }),
          })),
        }),
  };
}

/**
 * Tensors do not show whether files are v1 or v1.1, and a mixture ghosts. Files that another model was imported from under the
 * other variant show it.
 *
 * @returns a sentence for each file that contradicts an earlier import
 */
export function variantConflicts(manifest: FlashVsrManifest, others: readonly FlashVsrManifest[]): string[] {
  return manifest.sources.flatMap(({ part, file, sha256: hash }) => {
    // The decoder and the prompt are the same in both.
    if (part !== 'transformer' && part !== 'projector') return [];
    const other = others.find(
      (candidate) =>
        candidate.variant !== manifest.variant &&
        candidate.sources.some((source) => source.part === part && source.sha256 === hash),
    );
    if (other === undefined) return [];
    return [`${file} is the file that ${other.name} was imported with as ${other.variant}, not ${manifest.variant}.`];
  });
}
