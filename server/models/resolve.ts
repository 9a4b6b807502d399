import { existsSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import type { Config } from '../config/config.ts';
import { AppError } from '../errors.ts';
import { NO_GPU, probeGpu } from '../upscalers/onnx/gpu-probe/probe-gpu.ts';
import { prepareGpuTurns } from '../upscalers/onnx/gpu-turns.ts';
import type { FlashVsrSpec, ModelLocation, OnnxModel, UpscalerSpec } from '../upscalers/spec.ts';
import { availableModels, modelRoots } from './catalogue.ts';
import { usableGpus } from './engine-specs.ts';
import { PUBLISHED } from './hub/official.ts';
import { onnxModelOf, readManifest, type FlashVsrManifest, type OnnxManifest } from './manifest.ts';

/** What resolving a model needs of the configuration. */
export type ModelConfig = Pick<Config, 'model'> & Partial<Pick<Config, 'debug'>>;

/** A rung of the overload ladder that will not be there. */
export type LeftOut = (name: string, reason: string) => void;

/** What this machine can do. */
export interface Machine {
  /** Whether the FlashVSR engine has a GPU here. */
  cudaUsable(): Promise<boolean>;
  /** Why the GPU should not run this ONNX model; undefined: it should. */
  gpuObjection(model: OnnxModel, threads: number): Promise<string | undefined>;
}

const THIS_MACHINE: Machine = { cudaUsable: findCuda, gpuObjection: probeGpu };

interface ResolveContext {
  readonly config: ModelConfig;
  readonly roots: readonly string[];
  readonly onLeftOut: LeftOut;
  readonly machine: Machine;
}

/**
 * Turns --model into a spec: `auto` (an imported FlashVSR where CUDA is usable, else the model of the wanted scale whose manifest
 * says `gpu` where a GPU runs it faster than the CPU and fast enough, else the one whose manifest says `auto`, else resize), `resize`, a name from `models list`, a folder with manifest.json, or an .onnx file.
 *
 * @param onLeftOut called for every cheaper model the overload ladder could have used and does not, with the reason
 * @throws AppError model.notFound (the message lists what there is) | model.invalid | model.device when --model.device asks for a GPU
 * that cannot do it
 */
export async function resolveModel(
  config: ModelConfig,
  roots: readonly string[] = modelRoots(),
  onLeftOut: LeftOut = () => undefined,
  machine: Machine = THIS_MACHINE,
): Promise<UpscalerSpec> {
  const spec = await resolveName({ config, roots, onLeftOut, machine });
  if (config.model.decoder === 'wan' && spec.kind !== 'flashvsr') {
    throw new AppError('config.invalid', 'The Wan2.1 decoder belongs to FlashVSR, and the model is another one.', {
      remedy: 'Name a FlashVSR model (`models list`), or leave the decoder out.',
    });
  }
  return spec;
}

async function resolveName(context: ResolveContext): Promise<UpscalerSpec> {
  const { config, roots } = context;
  const { name } = config.model;
  if (name === 'resize') return resizeSpec(config);
  if (name === 'auto') return autoSpec(context);
  if (name === 'flashvsr-synthetic') {
    const weights = config.model.decoder === 'wan' ? 'official-wan' : 'official';
    return flashVsrSpec(context, { kind: 'synthetic', path: weights }, 'FlashVSR (synthetic weights)');
  }
  const known = availableModels(roots).find((model) => model.name === name || model.manifest.name === name);
  const folder = known?.folder ?? roots.map((root) => path.join(root, name)).find((candidate) => existsSync(candidate));
  return fromPath(context, folder ?? path.resolve(name));
}

async function fromPath(context: ResolveContext, location: string): Promise<UpscalerSpec> {
  const { config, roots } = context;
  if (!existsSync(location)) throw notFound(config.model.name, roots);
  if (!statSync(location).isDirectory()) return fromFile(context, location);
  const manifest = readManifest(location);
  if (manifest === undefined) return fromBareFolder(context, location);
  if (manifest.kind === 'flashvsr') return importedSpec(context, location, manifest);
  const model = await placed(context, onnxModelOf(location, manifest), manifest.gpu);
  return onnxSpec(config, model, fallbacksOf(context, location, manifest));
}

/** A lone file: everything not in it comes from the configuration or from the probe. */
async function fromFile(context: ResolveContext, file: string): Promise<UpscalerSpec> {
  const { config } = context;
  if (!file.toLowerCase().endsWith('.onnx')) {
    throw new AppError('model.invalid', `${file} is neither a folder with manifest.json nor an .onnx file.`, {
      context: { file },
    });
  }
  // A manifest beside the file that describes it is better than guesses.
  const folder = path.dirname(file);
  const manifest = readManifest(folder);
  if (manifest?.kind === 'onnx' && path.resolve(folder, manifest.file) === file) {
    return onnxSpec(config, await placed(context, onnxModelOf(folder, manifest), manifest.gpu), []);
  }
  const model = { file, label: path.basename(file, path.extname(file)), valueRange: config.model.valueRange };
  return onnxSpec(config, await placed(context, model, true), []);
}

/** A folder without a manifest is unambiguous when it holds one .onnx file. */
async function fromBareFolder(context: ResolveContext, folder: string): Promise<UpscalerSpec> {
  const files = readdirSync(folder).filter((file) => file.toLowerCase().endsWith('.onnx'));
  const [only] = files;
  if (only !== undefined && files.length === 1) return fromFile(context, path.join(folder, only));
  const found = files.length === 0 ? 'no .onnx file' : `several .onnx files (${files.join(', ')})`;
  throw new AppError('model.invalid', `${folder} has no manifest.json and ${found}.`, { context: { folder } });
}

/**
 * The model with the device it runs on: the GPU when that is asked for, or when nothing is, a GPU may do it and does it better.
 *
 * @param mayUseGpu 8-bit graphs have nothing from a GPU, and are not tried there
 */
async function placed(
  { config, onLeftOut, machine }: ResolveContext,
  model: OnnxModel,
  mayUseGpu: boolean,
): Promise<OnnxModel> {
  const { device, threads } = config.model;
  if (device === 'gpu') {
    prepareGpuTurns();
    return { ...model, gpu: 'required' };
  }
  if (device === 'cuda' || device === 'reference') {
    throw new AppError('model.device', `${model.label} is an ONNX model, which does not run on ${device}.`, {
      context: { model: model.label, device },
      remedy: 'Use --device auto, cpu or gpu (WebGPU); cuda and reference run FlashVSR (docs/models.md).',
    });
  }
  if (device !== 'auto' || !mayUseGpu) return model;
  const objection = await machine.gpuObjection(model, threads);
  if (objection === undefined) {
    prepareGpuTurns();
    return { ...model, gpu: 'preferred' };
  }
  if (objection !== NO_GPU) onLeftOut(`${model.label} on the GPU`, objection);
  return model;
}

async function autoSpec(context: ResolveContext): Promise<UpscalerSpec> {
  const { config, roots } = context;
  const { device } = config.model;
  // The newest variant by name; asked for the device only when there is something to run on it.
  const [flashVsr] = availableModels(roots)
    .flatMap(({ name, folder, manifest }) => (manifest.kind === 'flashvsr' ? [{ name, folder, manifest }] : []))
    .sort((a, b) => b.name.localeCompare(a.name, 'en', { numeric: true }));
  if (flashVsr !== undefined && (device === 'auto' || device === 'cuda') && (await context.machine.cudaUsable())) {
    return importedSpec(context, flashVsr.folder, flashVsr.manifest);
  }
  const forGpu = availableModels(roots).find(
    ({ manifest }) => manifest.kind === 'onnx' && manifest.gpu && manifest.scale === config.model.scale,
  );
  if (forGpu?.manifest.kind === 'onnx' && (device === 'auto' || device === 'gpu')) {
    const model = await placed(context, onnxModelOf(forGpu.folder, forGpu.manifest), true);
    // Made for a GPU, it is not for a CPU.
    if (model.gpu !== undefined) return onnxSpec(config, model, fallbacksOf(context, forGpu.folder, forGpu.manifest));
  }
  if (device === 'gpu') {
    throw new AppError('model.device', `No model of scale ${config.model.scale} here is made for a GPU.`, {
      remedy: 'Use --model.device auto, another --scale, or name a model with --model.',
    });
  }
  const auto = autoModel(context);
  if (auto === undefined) return resizeSpec(config);
  return onnxSpec(config, onnxModelOf(auto.folder, auto.manifest), fallbacksOf(context, auto.folder, auto.manifest));
}

/** Whether the FlashVSR engine has a GPU here. */
async function findCuda(): Promise<boolean> {
  return (await usableGpus()).length > 0;
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
  const { scale, sparseRatio, localRange, kvRatio, seed, colourMatch, precision, decoder } = model;
  if (model.device === 'gpu') {
    throw new AppError('model.device', `${label} runs by CUDA or on the reference engine, not by WebGPU.`, {
      remedy: 'Use --model.device cuda.',
    });
  }
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
    decoder,
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
  const context = { name, roots };
  if (PUBLISHED.some((model) => model.name === name)) {
    return new AppError('model.notFound', `The model "${name}" is not on this machine yet. There are: ${names}.`, {
      context,
      remedy: `Download it with \`npm run cli -- models pull ${name}\` and start again.`,
    });
  }
  return new AppError(
    'model.notFound',
    `There is no model "${name}": it is no model's name, folder or .onnx file. There are: ${names}.`,
    { context },
  );
}
