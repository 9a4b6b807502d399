import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { AppError } from '../errors.ts';
import type { OnnxModel } from '../upscalers/spec.ts';

/**
 * manifest.json beside a model's files. Only what is needed to run the model is named here; licence, source and
 * training are there for people, so other keys are allowed.
 */
const onnxManifest = z.looseObject({
  name: z.string().min(1),
  /** Name for people; `name` when absent. */
  label: z.string().min(1).optional(),
  kind: z.literal('onnx'),
  file: z.string().min(1),
  scale: z.number().int().min(1).max(8),
  /** Of `file`, checked whenever the model is loaded. */
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/, 'must be 64 lower-case hexadecimal digits')
    .optional(),
  /** `--model auto` takes this model for its scale. */
  auto: z.boolean().default(false),
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

const flashVsrManifest = z.looseObject({
  name: z.string().min(1),
  label: z.string().optional(),
  kind: z.literal('flashvsr'),
});

const manifestSchema = z.discriminatedUnion('kind', [onnxManifest, flashVsrManifest]);

export type Manifest = z.infer<typeof manifestSchema>;
export type OnnxManifest = z.infer<typeof onnxManifest>;

export const MANIFEST_FILE = 'manifest.json';

/** @returns undefined when the folder has no manifest. @throws AppError model.invalid */
export function readManifest(folder: string): Manifest | undefined {
  const file = path.join(folder, MANIFEST_FILE);
  if (!existsSync(file)) return undefined;
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new AppError('model.invalid', `${file} is not valid JSON: ${(cause as Error).message}`, {
      cause,
      context: { file },
    });
  }
  const parsed = manifestSchema.safeParse(json);
  if (!parsed.success) {
    const problems = parsed.error.issues.map((issue) => `${issue.path.join('.') || '(top level)'}: ${issue.message}`);
    throw new AppError('model.invalid', `${file} is not a model manifest: ${problems.join('; ')}`, {
      context: { file },
    });
  }
  return parsed.data;
}

/** The runnable model of a folder. @throws AppError model.invalid when the file it names is missing */
export function onnxModelOf(folder: string, manifest: OnnxManifest): OnnxModel {
  const file = path.resolve(folder, manifest.file);
  if (!existsSync(file)) {
    throw new AppError(
      'model.invalid',
      `${path.join(folder, MANIFEST_FILE)} names ${manifest.file}, which is not there.`,
      {
        context: { file },
      },
    );
  }
  const { label, name, valueRange, layout, scale, sha256, sizeMultiple, recurrentState } = manifest;
  return {
    file,
    label: label ?? name,
    valueRange,
    scale,
    ...(sha256 === undefined ? {} : { sha256 }),
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
