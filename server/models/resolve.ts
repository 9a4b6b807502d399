import { existsSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Config } from '../config/config.ts';
import { AppError } from '../errors.ts';
import { onnxModelOf, readManifest, type Manifest, type OnnxManifest } from './manifest.ts';
import type { OnnxModel, UpscalerSpec } from '../upscalers/spec.ts';

/** What resolving a model needs of the configuration. */
export type ModelConfig = Pick<Config, 'model'>;

/** A rung of the overload ladder that will not be there. */
export type LeftOut = (name: string, reason: string) => void;

interface Places {
  readonly config: ModelConfig;
  readonly roots: readonly string[];
  readonly onLeftOut: LeftOut;
}

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
 * Turns --model into a spec: `auto` (an imported FlashVSR where CUDA is usable, else the model of the wanted scale whose
 * manifest says `auto`, else resize), `resize`, a name from `models list`, a folder with manifest.json, or an .onnx file.
 *
 * @param onLeftOut told of every cheaper model the overload ladder could have used and does not, with the reason
 * @throws AppError model.notFound (the message lists what there is) | model.invalid
 */
export async function resolveModel(
  config: ModelConfig,
  roots: readonly string[] = modelRoots(),
  onLeftOut: LeftOut = () => undefined,
  cudaUsable: () => Promise<boolean> = findCuda,
): Promise<UpscalerSpec> {
  const { name } = config.model;
  const places = { config, roots, onLeftOut };
  if (name === 'resize') return resizeSpec(config);
  if (name === 'auto') return autoSpec(places, cudaUsable);
  if (name === 'flashvsr-synthetic') return flashVsrSpec(places, 'synthetic', 'FlashVSR (synthetic weights)');
  const known = availableModels(roots).find((model) => model.name === name || model.manifest.name === name);
  const folder = known?.folder ?? roots.map((root) => path.join(root, name)).find((candidate) => existsSync(candidate));
  return fromPath(places, folder ?? path.resolve(name));
}

function fromPath(places: Places, place: string): UpscalerSpec {
  const { config, roots } = places;
  if (!existsSync(place)) throw notFound(config.model.name, roots);
  if (!statSync(place).isDirectory()) return fromFile(config, place);
  const manifest = readManifest(place);
  if (manifest === undefined) return fromBareFolder(config, place);
  if (manifest.kind === 'flashvsr') return flashVsrSpec(places, place, manifest.label ?? manifest.name);
  return onnxSpec(config, onnxModelOf(place, manifest), fallbacksOf(places, place, manifest));
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

async function autoSpec(places: Places, cudaUsable: () => Promise<boolean>): Promise<UpscalerSpec> {
  const { config, roots } = places;
  const { device } = config.model;
  // The newest variant by name; asked for the device only when there is something to run on it.
  const [flashVsr] = availableModels(roots)
    .filter(({ manifest }) => manifest.kind === 'flashvsr')
    .sort((a, b) => b.name.localeCompare(a.name, 'en', { numeric: true }));
  if (flashVsr !== undefined && (device === 'auto' || device === 'cuda') && (await cudaUsable())) {
    const { label, name } = flashVsr.manifest;
    return flashVsrSpec(places, flashVsr.folder, label ?? name);
  }
  const auto = autoModel(places);
  if (auto === undefined) return resizeSpec(config);
  return onnxSpec(config, onnxModelOf(auto.folder, auto.manifest), fallbacksOf(places, auto.folder, auto.manifest));
}

/** Whether the FlashVSR engine has a GPU here; false also when the addon is not built. */
async function findCuda(): Promise<boolean> {
  try {
    const { listDevices } = await import('../upscalers/flashvsr/binding.ts');
    const devices = await listDevices(process.env['FLASHVSR_CUDA_LIBRARY']);
    return devices.some(({ device, usable }) => device === 'cuda' && usable);
  } catch {
    return false;
  }
}

/** The model of the configured scale whose manifest says it is for everybody. */
function autoModel({ config, roots }: Places): { folder: string; manifest: OnnxManifest } | undefined {
  for (const { folder, manifest } of availableModels(roots)) {
    if (manifest.kind === 'onnx' && manifest.auto && manifest.scale === config.model.scale) return { folder, manifest };
  }
  return undefined;
}

/**
 * The cheaper models a manifest names: by name, beside it or in any root, of its scale or a smaller one. The ladder does
 * without those that are not here.
 */
function fallbacksOf({ roots, onLeftOut }: Places, folder: string, manifest: OnnxManifest): OnnxModel[] {
  const models = availableModels([path.dirname(folder), ...roots]);
  return (manifest.fallbacks ?? []).flatMap((name) => {
    const model = models.find((candidate) => candidate.name === name);
    if (model?.manifest.kind !== 'onnx') {
      onLeftOut(name, 'there is no such ONNX model here');
      return [];
    }
    if (model.manifest.scale > manifest.scale) {
      onLeftOut(name, `its scale is ${model.manifest.scale}, more than ${manifest.name}'s ${manifest.scale}`);
      return [];
    }
    return [onnxModelOf(model.folder, model.manifest)];
  });
}

function resizeSpec({ model }: ModelConfig): UpscalerSpec {
  return { kind: 'resize', scale: model.scale, filter: model.filter };
}

function onnxSpec({ model }: ModelConfig, onnx: OnnxModel, fallbacks: readonly OnnxModel[]): UpscalerSpec {
  return { kind: 'onnx', model: onnx, threads: model.threads, fallbacks };
}

function flashVsrSpec(places: Places, folder: string, label: string): UpscalerSpec {
  const { model } = places.config;
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
    ...smallModelOf(places),
  };
}

function smallModelOf(places: Places): Pick<Extract<UpscalerSpec, { kind: 'flashvsr' }>, 'smallModel'> {
  const { config, onLeftOut } = places;
  const small = autoModel(places);
  if (small === undefined) {
    onLeftOut('small model', `no model of scale ${config.model.scale} says "auto" in its manifest here`);
    return {};
  }
  return { smallModel: { model: onnxModelOf(small.folder, small.manifest), threads: config.model.threads } };
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
