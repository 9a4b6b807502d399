import { existsSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Config } from '../config.ts';
import { AppError } from '../errors.ts';
import { onnxModelOf, readManifest, type Manifest, type OnnxManifest } from './manifest.ts';
import type { OnnxModel, UpscalerSpec } from './spec.ts';

/** What resolving a model needs of the configuration. */
export type ModelConfig = Pick<Config, 'model'>;

/** Folders that hold models, one folder each: shipped ones, and those imported or downloaded on this machine. */
export function modelRoots(): string[] {
  const shipped = fileURLToPath(new URL('../../models/', import.meta.url));
  return [shipped, path.join(shipped, 'local')];
}

export interface AvailableModel {
  readonly name: string;
  readonly folder: string;
  readonly manifest: Manifest;
}

/** Every model with a readable manifest; broken ones are left out here and complained about when they are named. */
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

/**
 * Turns --model into a spec: `auto` (the model of the wanted scale whose manifest says `auto`, else resize), `resize`,
 * a name from `models list`, a folder with manifest.json, or an .onnx file.
 *
 * @throws AppError model.notFound (the message lists what there is) | model.invalid
 */
export async function resolveModel(
  config: ModelConfig,
  roots: readonly string[] = modelRoots(),
): Promise<UpscalerSpec> {
  const { name } = config.model;
  if (name === 'resize') return resizeSpec(config);
  if (name === 'auto') return autoSpec(config, roots);
  if (name === 'flashvsr-synthetic') return flashVsrSpec(config, 'synthetic', 'FlashVSR (synthetic weights)');
  const known = availableModels(roots).find((model) => model.name === name || model.manifest.name === name);
  const folder = known?.folder ?? roots.map((root) => path.join(root, name)).find((candidate) => existsSync(candidate));
  return fromPath(config, folder ?? path.resolve(name), roots);
}

function fromPath(config: ModelConfig, place: string, roots: readonly string[]): UpscalerSpec {
  if (!existsSync(place)) throw notFound(config.model.name, roots);
  if (!statSync(place).isDirectory()) return fromFile(config, place);
  const manifest = readManifest(place);
  if (manifest === undefined) return fromBareFolder(config, place);
  if (manifest.kind === 'flashvsr') return flashVsrSpec(config, place, manifest.label ?? manifest.name);
  return onnxSpec(config, onnxModelOf(place, manifest), fallbacksOf(place, manifest, roots));
}

/** A lone file: everything not in it comes from the configuration or from the probe. */
function fromFile(config: ModelConfig, file: string): UpscalerSpec {
  if (!file.toLowerCase().endsWith('.onnx')) {
    throw new AppError('model.invalid', `${file} is neither a folder with manifest.json nor an .onnx file.`, {
      context: { file },
    });
  }
  // A manifest beside the file that describes it is better than guesses.
  const folder = path.dirname(file);
  const manifest = readManifest(folder);
  if (manifest?.kind === 'onnx' && path.resolve(folder, manifest.file) === file) {
    return onnxSpec(config, onnxModelOf(folder, manifest), []);
  }
  return onnxSpec(
    config,
    { file, label: path.basename(file, path.extname(file)), valueRange: config.model.valueRange },
    [],
  );
}

/** A folder without a manifest is unambiguous when it holds one .onnx file. */
function fromBareFolder(config: ModelConfig, folder: string): UpscalerSpec {
  const files = readdirSync(folder).filter((file) => file.toLowerCase().endsWith('.onnx'));
  const [only] = files;
  if (only !== undefined && files.length === 1) return fromFile(config, path.join(folder, only));
  const found = files.length === 0 ? 'no .onnx file' : `several .onnx files (${files.join(', ')})`;
  throw new AppError('model.invalid', `${folder} has no manifest.json and ${found}.`, { context: { folder } });
}

function autoSpec(config: ModelConfig, roots: readonly string[]): UpscalerSpec {
  for (const { folder, manifest } of availableModels(roots)) {
    if (manifest.kind !== 'onnx' || !manifest.auto || manifest.scale !== config.model.scale) continue;
    return onnxSpec(config, onnxModelOf(folder, manifest), fallbacksOf(folder, manifest, roots));
  }
  return resizeSpec(config);
}

/** The cheaper models a manifest names: by name, beside it or in any root. */
function fallbacksOf(folder: string, manifest: OnnxManifest, roots: readonly string[]): OnnxModel[] {
  const models = availableModels([path.dirname(folder), ...roots]);
  return (manifest.fallbacks ?? []).map((name) => {
    const model = models.find((candidate) => candidate.name === name);
    if (model?.manifest.kind === 'onnx' && model.manifest.scale === manifest.scale) {
      return onnxModelOf(model.folder, model.manifest);
    }
    throw new AppError(
      'model.invalid',
      `${folder} names the fallback "${name}", which is no ONNX model of its scale here.`,
    );
  });
}

function resizeSpec({ model }: ModelConfig): UpscalerSpec {
  return { kind: 'resize', scale: model.scale, filter: model.filter };
}

function onnxSpec({ model }: ModelConfig, onnx: OnnxModel, fallbacks: readonly OnnxModel[]): UpscalerSpec {
  return { kind: 'onnx', model: onnx, threads: model.threads, fallbacks };
}

function flashVsrSpec({ model }: ModelConfig, folder: string, label: string): UpscalerSpec {
  const { scale, sparseRatio, localRange, kvRatio, seed, colourMatch, precision } = model;
  const device = model.device === 'cpu' ? 'reference' : model.device;
  return {
    kind: 'flashvsr',
    model: folder,
    label,
    device,
    scale,
    sparseRatio,
    localRange,
    kvRatio,
    seed,
    colourMatch,
    precision,
  };
}

function notFound(name: string, roots: readonly string[]): AppError {
  const models = availableModels(roots).map((model) =>
    model.manifest.kind === 'onnx' ? `${model.name} (x${model.manifest.scale})` : model.name,
  );
  const names = ['auto', 'resize', ...models].join(', ');
  return new AppError(
    'model.notFound',
    `There is no model "${name}": it is no model's name, folder or .onnx file. There are: ${names}.`,
    { context: { name, roots } },
  );
}
