import { existsSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import type { Config } from '../config/config.ts';
import { AppError } from '../errors.ts';
import type { FlashVsrSpec, ModelLocation, OnnxModel, UpscalerSpec } from '../upscalers/spec.ts';
import { availableModels, modelRoots } from './catalogue.ts';
import { onnxModelOf, readManifest, type FlashVsrManifest, type OnnxManifest } from './manifest.ts';

/** What resolving a model needs of the configuration. */
export type ModelConfig = Pick<Config, 'model'> & Partial<Pick<Config, 'debug'>>;

/** A rung of the overload ladder that will not be there. */
export type LeftOut = (name: string, reason: string) => void;

interface ResolveContext {
  readonly config: ModelConfig;
  readonly roots: readonly string[];
  readonly onLeftOut: LeftOut;
}

/**
 * Turns --model into a spec: `auto` (an imported FlashVSR where CUDA is usable, else the model of the wanted scale whose
 * manifest says `auto`, else resize), `resize`, a name from `models list`, a folder with manifest.json, or an .onnx file.
 *
 * @param onLeftOut called for every cheaper model the overload ladder could have used and does not, with the reason
 * @throws AppError model.notFound (the message lists what there is) | model.invalid
 */
export async function resolveModel(
  config: ModelConfig,
  roots: readonly string[] = modelRoots(),
  onLeftOut: LeftOut = () => undefined,
  cudaUsable: () => Promise<boolean> = findCuda,
): Promise<UpscalerSpec> {
  const { name } = config.model;
  const context = { config, roots, onLeftOut };
  if (name === 'resize') return resizeSpec(config);
  if (name === 'auto') return autoSpec(context, cudaUsable);
  if (name === 'flashvsr-synthetic') {
    return flashVsrSpec(context, { kind: 'synthetic', path: 'official' }, 'FlashVSR (synthetic weights)');
  }
  const known = availableModels(roots).find((model) => model.name === name || model.manifest.name === name);
  const folder = known?.folder ?? roots.map((root) => path.join(root, name)).find((candidate) => existsSync(candidate));
  return fromPath(context, folder ?? path.resolve(name));
}

function fromPath(context: ResolveContext, location: string): UpscalerSpec {
  const { config, roots } = context;
  if (!existsSync(location)) throw notFound(config.model.name, roots);
  if (!statSync(location).isDirectory()) return fromFile(config, location);
  const manifest = readManifest(location);
  if (manifest === undefined) return fromBareFolder(config, location);
  if (manifest.kind === 'flashvsr') return importedSpec(context, location, manifest);
  return onnxSpec(config, onnxModelOf(location, manifest), fallbacksOf(context, location, manifest));
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

async function autoSpec(context: ResolveContext, cudaUsable: () => Promise<boolean>): Promise<UpscalerSpec> {
  const { config, roots } = context;
  const { device } = config.model;
  // The newest variant by name; asked for the device only when there is something to run on it.
  const [flashVsr] = availableModels(roots)
    .flatMap(({ name, folder, manifest }) => (manifest.kind === 'flashvsr' ? [{ name, folder, manifest }] : []))
    .sort((a, b) => b.name.localeCompare(a.name, 'en', { numeric: true }));
  if (flashVsr !== undefined && (device === 'auto' || device === 'cuda') && (await cudaUsable())) {
    return importedSpec(context, flashVsr.folder, flashVsr.manifest);
  }
  const auto = autoModel(context);
  if (auto === undefined) return resizeSpec(config);
  return onnxSpec(config, onnxModelOf(auto.folder, auto.manifest), fallbacksOf(context, auto.folder, auto.manifest));
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

/** The model of the configured scale whose manifest says `auto`. */
function autoModel({ config, roots }: ResolveContext): { folder: string; manifest: OnnxManifest } | undefined {
  for (const { folder, manifest } of availableModels(roots)) {
    if (manifest.kind === 'onnx' && manifest.auto && manifest.scale === config.model.scale) return { folder, manifest };
  }
  return undefined;
}

/**
 * The cheaper models a manifest names: by name, beside it or in any root, of its scale or a smaller one. The ladder does
 * without those that are not here.
 */
function fallbacksOf({ roots, onLeftOut }: ResolveContext, folder: string, manifest: OnnxManifest): OnnxModel[] {
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

function importedSpec(context: ResolveContext, folder: string, { file, label, name }: FlashVsrManifest): UpscalerSpec {
  return flashVsrSpec(context, { kind: 'imported', path: path.join(folder, file) }, label ?? name);
}

function flashVsrSpec(context: ResolveContext, location: ModelLocation, label: string): UpscalerSpec {
  const { model, debug } = context.config;
  const { scale, sparseRatio, localRange, kvRatio, seed, colourMatch, precision } = model;
  const device = model.device === 'cpu' ? 'reference' : model.device;
  return {
    kind: 'flashvsr',
    model: location,
    label,
    device,
    scale,
    sparseRatio,
    localRange,
    kvRatio,
    seed,
    colourMatch,
    precision,
    ...(debug?.engineRecordPath === undefined ? {} : { recordPath: path.resolve(debug.engineRecordPath) }),
    ...smallModelOf(context),
  };
}

function smallModelOf(context: ResolveContext): Pick<FlashVsrSpec, 'smallModel'> {
  const { config, onLeftOut } = context;
  const small = autoModel(context);
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
