import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { AppError } from '../errors.ts';
import { importModel } from '../upscalers/flashvsr/binding.ts';
import type { ModelVariant } from '../upscalers/spec.ts';
import { availableModels, modelFolder } from './catalogue.ts';
import { parseManifest, variantConflicts, type FlashVsrManifest } from './manifest.ts';
import { OFFICIAL_FILES, type ModelPart } from './hub/official.ts';

/** `step` is `download`, `check`, `write` or `hash`; bytes. */
export type StepProgress = (step: string, done: number, total: number) => void;

export interface ImportOptions {
  /** Folder with the official files. */
  readonly from: string;
  readonly name: string;
  readonly variant: ModelVariant;
  readonly modelsFolder: string;
  /** The prompt tensor, when it is not beside the others. */
  readonly prompt?: string;
  readonly origin?: string;
  readonly licence?: string;
  readonly replace?: boolean;
  readonly onProgress?: StepProgress;
}

export interface ImportResult {
  readonly folder: string;
  readonly manifest: FlashVsrManifest;
  /** Sentences a person should read: files that were imported before as the other variant. */
  readonly warnings: readonly string[];
}

/**
 * Official files to models/local/<name>: one safetensors file and its manifest, whole or not at all.
 *
 * @throws AppError weights.invalid (all problems at once) | config.invalid | engine.unavailable
 */
export async function importOfficial(options: ImportOptions): Promise<ImportResult> {
  const { from, name, variant, modelsFolder, prompt, onProgress } = options;
  const folder = modelFolder(modelsFolder, name);
  if (!existsSync(from) || !statSync(from).isDirectory()) {
    throw new AppError('weights.invalid', `${from} is not a folder.`, {
      scope: 'request',
      remedy: 'Name the folder with the official files.',
    });
  }
  const file = (part: ModelPart): string => path.resolve(from, OFFICIAL_FILES[part]);
  const promptFile = path.resolve(prompt ?? file('prompt'));
  if (!existsSync(promptFile)) {
    throw new AppError('weights.invalid', `The prompt tensor ${promptFile} is missing.`, {
      scope: 'request',
      remedy: `${OFFICIAL_FILES.prompt} is not in the hub repository but in FlashVSR's code repository (examples/WanVSR/prompt_tensor): put it beside the other files, or name it with --prompt FILE.`,
    });
  }
  const wan = file('wan');
  const text = await importModel(
    {
      transformer: file('transformer'),
      projector: file('projector'),
      decoder: file('decoder'),
      prompt: promptFile,
      ...(existsSync(wan) && { wan }),
      outputFolder: folder,
      name,
      variant,
      origin: options.origin ?? path.basename(path.resolve(from)),
      licence: options.licence ?? 'Apache-2.0',
      createdAt: new Date().toISOString(),
      replace: options.replace ?? false,
    },
    onProgress,
  );
  const manifest = parseManifest(text, folder);
  if (manifest.kind !== 'flashvsr')
    throw new AppError('internal', `The importer wrote a manifest of kind ${manifest.kind}.`);
  return { folder, manifest, warnings: variantConflicts(manifest, otherImports(modelsFolder, name)) };
}

function otherImports(modelsFolder: string, name: string): FlashVsrManifest[] {
  return availableModels([modelsFolder]).flatMap(({ name: other, manifest }) =>
    other !== name && manifest.kind === 'flashvsr' ? [manifest] : [],
  );
}
