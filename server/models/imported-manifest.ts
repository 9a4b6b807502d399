import { readFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { MANIFEST_FILE } from './manifest.ts';
import { AppError } from '../errors.ts';

/** manifest.json of an imported FlashVSR model, as the native importer writes it. */
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const bytes = z.number().int().nonnegative();

const importedManifest = z.looseObject({
  kind: z.literal('flashvsr'),
  formatVersion: z.literal(1),
  name: z.string(),
  variant: z.enum(['v1', 'v1.1']),
  origin: z.string(),
  licence: z.string(),
  createdAt: z.string(),
  file: z.string().refine((file) => path.basename(file) === file, 'must be a file of this folder'),
  bytes,
  sha256,
  sources: z.array(
    z.looseObject({
      part: z.enum(['transformer', 'projector', 'decoder', 'prompt']),
      file: z.string(),
      bytes,
      sha256,
    }),
  ),
});

export type ImportedManifest = z.infer<typeof importedManifest>;

/** @throws AppError model.invalid */
export function parseImportedManifest(text: string, place: string): ImportedManifest {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new AppError('model.invalid', `${place} is not valid JSON.`, { cause });
  }
  const parsed = importedManifest.safeParse(json);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `${issue.path.join('.') || '(top level)'}: ${issue.message}`);
  throw new AppError('model.invalid', `${place} is not the manifest of an imported model: ${problems.join('; ')}`);
}

/** @throws AppError model.invalid */
export function readImportedManifest(folder: string): ImportedManifest {
  const file = path.join(folder, MANIFEST_FILE);
  return parseImportedManifest(readFileSync(file, 'utf8'), file);
}

/**
 * v1 and v1.1 cannot be told apart by their tensors, and a mixture ghosts. But the files of a model that was imported
 * before, under the other variant, give it away.
 */
export function variantConflicts(manifest: ImportedManifest, others: readonly ImportedManifest[]): string[] {
  const told = manifest.sources.flatMap(({ part, file, sha256: hash }) => {
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
  return told;
}
