import path from 'node:path';
import { Option, type Command } from 'commander';
import { AppError } from '../errors.ts';
import { LOCAL_MODELS, availableModels, modelRoots, modelRows, modelTable } from '../models/catalogue.ts';
import { importOfficial, type ImportResult } from '../models/import.ts';
import { HUB_ENDPOINT, PROMPT_URL, PUBLISHED } from '../models/hub/official.ts';
import { pullModel } from '../models/hub/pull.ts';
import { verifyModel } from '../models/verify.ts';
import type { ModelVariant } from '../upscalers/spec.ts';
import { createStepProgress } from './progress.ts';

const MIB = 2 ** 20;

function printImported({ folder, manifest, warnings }: ImportResult): void {
  const { name, variant, bytes } = manifest;
  process.stdout.write(`${name} (${variant}, ${Math.ceil(bytes / MIB)} MiB) is in ${folder}\n`);
  const known = modelRoots().some((root) => path.resolve(root) === path.dirname(folder));
  process.stdout.write(`Use it with: npm start -- --model ${known ? name : folder}\n`);
  for (const warning of warnings) process.stderr.write(`Warning: ${warning}\n`);
}

function rootsOf(modelsDir: string): string[] {
  const folder = path.resolve(modelsDir);
  return [...new Set([...modelRoots().map((root) => path.resolve(root)), folder])];
}

interface CommonFlags {
  readonly modelsDir: string;
}
interface ImportFlags extends CommonFlags {
  readonly name: string;
  readonly variant?: ModelVariant;
  readonly prompt?: string;
  readonly replace?: boolean;
}
interface PullFlags extends CommonFlags {
  readonly name?: string;
  readonly revision?: string;
  readonly full?: boolean;
  readonly prompt?: string;
  readonly replace?: boolean;
  readonly keep?: boolean;
}

async function runImport(from: string, flags: ImportFlags): Promise<void> {
  const { name, variant, prompt, replace, modelsDir } = flags;
  if (variant === undefined) {
    process.stderr.write(
      'Taking the files for v1.1; their tensors do not show the variant: add --variant v1 if they are v1.\n',
    );
  }
  const progress = createStepProgress();
  try {
    printImported(
      await importOfficial({
        from,
        name,
        variant: variant ?? 'v1.1',
        modelsFolder: path.resolve(modelsDir),
        onProgress: progress.report,
        ...(prompt === undefined ? {} : { prompt }),
        ...(replace === undefined ? {} : { replace }),
      }),
    );
  } finally {
    progress.stop();
  }
}

async function runPull(model: string, flags: PullFlags): Promise<void> {
  const { modelsDir, ...rest } = flags;
  const progress = createStepProgress();
  try {
    printImported(
      await pullModel({
        ...rest,
        model,
        modelsFolder: path.resolve(modelsDir),
        endpoint: process.env['HF_ENDPOINT'] ?? HUB_ENDPOINT,
        token: process.env['HF_TOKEN'],
        promptUrl: process.env['FLASHVSR_PROMPT_URL'] ?? PROMPT_URL,
        onProgress: progress.report,
      }),
    );
  } finally {
    progress.stop();
  }
}

async function runVerify(names: readonly string[], { modelsDir }: CommonFlags): Promise<void> {
  const models = availableModels(rootsOf(modelsDir));
  const unknown = names.find((name) => !models.some((model) => model.name === name));
  if (unknown !== undefined) {
    throw new AppError('model.notFound', `There is no model ${JSON.stringify(unknown)}.`, { scope: 'request' });
  }
  for (const model of models.filter(({ name }) => names.length === 0 || names.includes(name))) {
    const progress = createStepProgress();
    const { name, problems, checked } = await verifyModel(model, progress.report);
    progress.stop();
    process.stdout.write(problems.length === 0 ? `ok    ${name} (${checked.join(', ')})\n` : `FAIL  ${name}\n`);
    for (const problem of problems) process.stdout.write(`      ${problem}\n`);
    if (problems.length > 0) process.exitCode = 1;
  }
}

/** The published models that are not on this machine, with the command that gets them. */
function toPull(present: readonly string[]): string[] {
  const absent = PUBLISHED.map(({ name }) => name).filter((name) => !present.includes(name));
  return absent.length === 0 ? [] : [`To download: ${absent.join(', ')} (npm run cli -- models pull NAME)`];
}

/** Registers `models import | pull | list | verify` with the command line. */
export function registerModels(program: Command): void {
  const models = program.command('models').description('get, import, list and check models');
  const modelsDir = (): Option =>
    new Option('--models-dir <folder>', 'where models are kept').default(LOCAL_MODELS, 'models/local');

  models
    .command('import')
    .description('import a folder with the official FlashVSR files')
    .argument(
      '<folder>',
      'with the transformer, the projector, the decoder, the prompt tensor and, for --decoder wan, Wan2.1_VAE.pth',
    )
    .requiredOption('--name <name>', 'name for --model')
    .addOption(new Option('--variant <variant>', 'of the files (default: v1.1)').choices(['v1', 'v1.1']))
    .option('--prompt <file>', 'posi_prompt.pth, when it is not in the folder')
    .option('--replace', 'an existing model of this name')
    .addOption(modelsDir())
    .action(runImport);

  models
    .command('pull')
    .description('download a published model and import it (HF_ENDPOINT: mirror, HF_TOKEN: access token); resumes')
    .argument('<model>', PUBLISHED.map((model) => model.name).join(' or '))
    .option('--name <name>', 'name for --model (default: the published one)')
    .option('--revision <revision>', 'branch, tag or commit of the repository')
    .option('--full', 'with the Wan2.1 decoder of FlashVSR full (500 MB more), for --decoder wan')
    .option('--prompt <file>', 'a local posi_prompt.pth instead of downloading it')
    .option('--replace', 'an existing model of this name')
    .option('--keep', 'keep the downloaded files after the import')
    .addOption(modelsDir())
    .action(runPull);

  models
    .command('list')
    .description('models on this machine')
    .option('--json', 'as JSON')
    .addOption(modelsDir())
    .action((flags: CommonFlags & { json?: boolean }) => {
      const rows = modelRows(rootsOf(flags.modelsDir));
      if (flags.json === true) process.stdout.write(`${JSON.stringify(rows, undefined, 2)}\n`);
      else if (rows.length === 0) process.stdout.write('No models yet: npm run cli -- models pull flashvsr-v1.1\n');
      else process.stdout.write(`${[...modelTable(rows), ...toPull(rows.map(({ name }) => name))].join('\n')}\n`);
    });

  models
    .command('verify')
    .description('check models against their manifests: size, sha256, every tensor')
    .argument('[names...]', 'all models when absent')
    .addOption(modelsDir())
    .action(runVerify);
}
