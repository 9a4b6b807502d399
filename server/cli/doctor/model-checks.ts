import path from 'node:path';
import type { Config } from '../../config/config.ts';
import { availableModels, modelRoots } from '../../models/catalogue.ts';
import { resolveModel } from '../../models/resolve.ts';
import { verifyModel } from '../../models/verify.ts';
import type { DeviceReport } from '../../upscalers/flashvsr/binding.ts';
import { NO_GPU } from '../../upscalers/onnx/gpu-probe/probe-gpu.ts';
import type { OnnxModel, UpscalerSpec } from '../../upscalers/spec.ts';
import { fail, failed, ok, warn, type Finding } from './finding.ts';
import type { Machine } from './machine.ts';

/** The configured model's files against their manifests, its ladder, and the devices that it needs. */
export async function checkModels(config: Config, machine: Machine): Promise<Finding[]> {
  const missing: Finding[] = [];
  const onLeftOut = (name: string, reason: string): void => {
    // Its own line says so.
    if (name.endsWith(' on the GPU')) return;
    missing.push(warn('model', `under overload there is no ${name}: ${reason}`, 'Add the model, or expect a resize.'));
  };
  const usable = async (): Promise<boolean> =>
    (await devicesOf(machine)).some(({ device, usable: works }) => device === 'cuda' && works);
  let spec: UpscalerSpec | undefined;
  // With `auto` a model whose manifest allows it is tried on the GPU: the same question as here.
  let tried: Tried | undefined;
  const gpuObjection = async (model: OnnxModel, threads: number): Promise<string | undefined> => {
    const objection = machine.gpuPossible() ? await machine.probeGpu(model, threads) : NO_GPU;
    tried = { name: model.label, objection };
    return objection;
  };
  const findings: Finding[] = [];
  try {
    spec = await resolveModel(config, undefined, onLeftOut, { cudaUsable: usable, gpuObjection });
    findings.push(await checkFiles(spec), ...missing);
    if (config.model.device === 'gpu' && spec.kind === 'onnx') await gpuObjection(spec.model, config.model.threads);
  } catch (thrown) {
    findings.push(failed('model', thrown));
  }
  return [...findings, ...(await checkCuda(spec, config.model, machine)), checkGpu(config.model, machine, tried)];
}

/** A model that was run on the GPU; `objection` undefined: it does it in time. */
interface Tried {
  readonly name: string;
  readonly objection: string | undefined;
}

async function devicesOf({ devices }: Machine): Promise<readonly DeviceReport[]> {
  return devices().catch(() => []);
}

async function checkFiles(spec: UpscalerSpec): Promise<Finding> {
  const files = new Set(filesOf(spec));
  const roots = [...modelRoots(), ...[...files].map((file) => path.dirname(path.dirname(file)))];
  const unique = new Set(roots.map((root) => path.resolve(root)));
  const models = availableModels([...unique]).filter(({ folder, manifest }) =>
    files.has(path.join(folder, manifest.file)),
  );
  const verdicts = await Promise.all(models.map((model) => verifyModel(model)));
  const problems = verdicts.flatMap((verdict) => verdict.problems);
  if (problems.length > 0) {
    return fail(
      'model',
      problems.join(' '),
      'Get the files again: `models pull`, `models import`, or a fresh install.',
    );
  }
  const names = models.map(({ name }) => name).join(', ');
  if (spec.kind === 'resize') return ok('model', `resize, no super-resolution`);
  return ok(
    'model',
    names === '' ? `${[...files].join(', ')}: no manifest to compare with` : `${names}: files as their manifests say`,
  );
}

/** Of the model and of what stands in for it. */
function filesOf(spec: UpscalerSpec): string[] {
  if (spec.kind === 'resize') return [];
  if (spec.kind === 'onnx') return [spec.model.file, ...spec.fallbacks.map(({ file }) => file)];
  const small = spec.smallModel === undefined ? [] : [spec.smallModel.model.file];
  return [...(spec.model.kind === 'imported' ? [spec.model.path] : []), ...small];
}

/** The engine, its CUDA library and every card against the kernels that were built. */
async function checkCuda(spec: UpscalerSpec | undefined, model: Config['model'], machine: Machine): Promise<Finding[]> {
  const byCuda = spec?.kind === 'flashvsr' && spec.device === 'cuda';
  const wanted = model.device === 'cuda' || model.devices !== 'auto' || byCuda;
  let reports: readonly DeviceReport[];
  try {
    reports = (await machine.devices()).filter(({ device }) => device === 'cuda');
  } catch (thrown) {
    const finding = failed('cuda', thrown);
    // Only FlashVSR needs the engine.
    return [wanted || spec?.kind === 'flashvsr' ? finding : ok('cuda', `not used: ${finding.about}`)];
  }
  const named = model.devices === 'auto' ? [] : model.devices;
  const absent = named.filter((index) => !reports.some((report) => report.index === index && report.usable));
  const remedy = 'Look at the driver (nvidia-smi), and build for this card: `npm run build:cuda` (docs/install.md).';
  const lines = reports.map(({ index, name, usable, reason }) => {
    if (usable) return ok('cuda', `GPU ${index}: ${name}`);
    const about = `GPU ${index}${name === '' ? '' : ` (${name})`}: ${reason}`;
    if (wanted && (named.length === 0 || named.includes(index))) return fail('cuda', about, remedy);
    return machine.nvidiaDriver() ? warn('cuda', about, remedy) : ok('cuda', `not used: ${reason}`);
  });
  if (absent.length > 0) {
    lines.push(fail('cuda', `model.devices names ${absent.join(', ')}, which cannot be used`, remedy));
  }
  if (lines.length === 0) return [wanted ? fail('cuda', 'there is no GPU', remedy) : ok('cuda', 'no GPU')];
  return lines;
}

/** The adapter of ONNX models: Vulkan on Linux, Metal, Direct3D 12. The model ran there in a process of its own. */
function checkGpu({ device }: Config['model'], machine: Machine, tried: Tried | undefined): Finding {
  const remedy = 'Install the Vulkan driver of the card, and let the user of the server open /dev/dri (group render).';
  if (device === 'cpu' || device === 'reference') return ok('vulkan', `not used: model.device is ${device}`);
  if (!machine.gpuPossible()) {
    if (device === 'gpu') return fail('vulkan', 'no adapter', remedy);
    return ok('vulkan', 'no adapter: models run on the CPU');
  }
  if (tried === undefined) return ok('vulkan', 'the configured model does not use it');
  const { name, objection } = tried;
  if (objection === undefined) return ok('vulkan', `the adapter runs ${name} in time`);
  if (device === 'gpu') return fail('vulkan', `${name}: ${objection}`, remedy);
  return warn(
    'vulkan',
    `${name} runs on the CPU: ${objection}`,
    'Nothing, or another model; `--model.device cpu` asks no GPU.',
  );
}
