import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { AppError } from '../../errors.ts';
import {
  download,
  DOWNLOAD_DEFAULTS,
  freeBytes,
  partPath,
  requireSpace,
  sizeOf,
  type DownloadOptions,
} from './download.ts';
import { describe, resolveUrl, type RemoteFile } from './hub.ts';
import { importOfficial, type ImportResult, type StepProgress } from '../import.ts';
import { modelFolder } from '../catalogue.ts';
import { HUB_PARTS, OFFICIAL_FILES, PUBLISHED, type ModelPart, type PublishedModel } from './official.ts';

export interface PullOptions {
  /** `flashvsr-v1.1` or `flashvsr-v1`. */
  readonly model: string;
  /** Name here; the published one when absent. */
  readonly name?: string;
  readonly revision?: string;
  /** With the Wan2.1 decoder of FlashVSR full. */
  readonly full?: boolean;
  readonly modelsFolder: string;
  readonly endpoint: string;
  readonly token: string | undefined;
  readonly promptUrl: string;
  /** A local file instead of promptUrl. */
  readonly prompt?: string;
  readonly replace?: boolean;
  /** Keep the official files after the import. */
  readonly keep?: boolean;
  readonly onProgress?: StepProgress;
  /** For tests. */
  readonly download?: Partial<Pick<DownloadOptions, 'retries' | 'retryDelayMs' | 'stallMs'>>;
  readonly freeBytes?: (folder: string) => Promise<number>;
}

interface Wanted {
  readonly part: ModelPart;
  readonly remote: RemoteFile;
  readonly target: string;
}

export function publishedModel(name: string): PublishedModel {
  const model = PUBLISHED.find((candidate) => candidate.name === name);
  if (model !== undefined) return model;
  throw new AppError('model.notFound', `There is no published model ${JSON.stringify(name)}.`, {
    scope: 'request',
    remedy: `Published are: ${PUBLISHED.map((candidate) => candidate.name).join(', ')}. Files from elsewhere: models import.`,
  });
}

/**
 * Fetches a published model and imports it. What was fetched stays until the import has succeeded, so that running the
 * command again goes on where it stopped.
 *
 * @throws AppError model.notFound | download.failed | weights.invalid | engine.unavailable
 */
export async function pullModel(options: PullOptions): Promise<ImportResult> {
  const { modelsFolder, token, onProgress } = options;
  const model = publishedModel(options.model);
  for (const address of [options.endpoint, options.promptUrl]) requireAddress(address);
  const name = options.name ?? model.name;
  const target = modelFolder(modelsFolder, name);
  if (options.replace !== true && (await sizeOf(path.join(target, 'manifest.json'))) > 0) {
    throw new AppError('config.invalid', `${target} is there already.`, {
      scope: 'request',
      remedy: 'Choose another name with --name, or replace it with --replace.',
    });
  }
  const folder = path.join(modelsFolder, `.download-${model.name}`);
  await mkdir(folder, { recursive: true });
  const { wanted, commit } = await describeAll(options, model, folder);
  await requireSpace(folder, await bytesNeeded(wanted), options.freeBytes ?? freeBytes);

  const total = wanted.reduce((sum, { remote }) => sum + (remote.bytes ?? 0), 0);
  let before = 0;
  for (const { remote, target: file, part } of wanted) {
    await download(remote, file, {
      ...DOWNLOAD_DEFAULTS,
      ...options.download,
      // The prompt comes from another server, which has no business with the hub's token.
      token: part === 'prompt' ? undefined : token,
      onProgress: (done) => onProgress?.('download', before + done, Math.max(total, before + done)),
    });
    before += await sizeOf(file);
  }
  const result = await importOfficial({
    from: folder,
    name,
    variant: model.variant,
    modelsFolder,
    origin: commit === undefined ? model.repository : `${model.repository}@${commit}`,
    licence: model.licence,
    ...(options.prompt === undefined ? {} : { prompt: options.prompt }),
    ...(options.replace === undefined ? {} : { replace: options.replace }),
    ...(onProgress === undefined ? {} : { onProgress }),
  });
  if (options.keep !== true) await rm(folder, { recursive: true, force: true });
  return result;
}

function requireAddress(address: string): void {
  if (URL.canParse(address) && /^https?:$/.test(new URL(address).protocol)) return;
  throw new AppError('config.invalid', `${JSON.stringify(address)} is not an http or https address.`, {
    scope: 'request',
    remedy: 'Correct HF_ENDPOINT or FLASHVSR_PROMPT_URL.',
  });
}

/** All files are described before the first is fetched: a missing permission or file shows at once. */
async function describeAll(
  options: PullOptions,
  model: PublishedModel,
  folder: string,
): Promise<{ wanted: Wanted[]; commit: string | undefined }> {
  const { token, revision = 'main' } = options;
  const hub = { endpoint: options.endpoint, token };
  const wanted: Wanted[] = [];
  let commit: string | undefined;
  const parts: readonly ModelPart[] = options.full === true ? [...HUB_PARTS, 'wan'] : HUB_PARTS;
  for (const part of parts) {
    const file = OFFICIAL_FILES[part];
    // From the first answer on, one commit: a push in between must not mix two versions.
    const url = resolveUrl(hub, model.repository, commit ?? revision, file);
    const remote = await describeFile(url, token);
    commit ??= remote.commit;
    const pinned = commit === undefined ? remote : { ...remote, url: resolveUrl(hub, model.repository, commit, file) };
    wanted.push({ part, remote: pinned, target: path.join(folder, file) });
  }
  if (options.prompt === undefined) {
    const remote = await describeFile(options.promptUrl, undefined);
    wanted.push({ part: 'prompt', remote, target: path.join(folder, OFFICIAL_FILES.prompt) });
  }
  return { wanted, commit };
}

async function describeFile(url: string, token: string | undefined): Promise<RemoteFile> {
  try {
    return await describe(url, token);
  } catch (error) {
    if (error instanceof AppError) throw error;
    const { cause, message } = error as Error;
    const reason = cause instanceof Error ? cause.message : message;
    throw new AppError('download.failed', `${new URL(url).host} cannot be reached: ${reason}.`, { cause: error });
  }
}

/** What is still to be fetched, and the imported copy of all of it. */
async function bytesNeeded(wanted: readonly Wanted[]): Promise<number> {
  let bytes = 0;
  for (const { remote, target } of wanted) {
    const size = remote.bytes ?? 0;
    const here = Math.max(await sizeOf(target), await sizeOf(partPath(target, remote.etag)));
    bytes += size + Math.max(0, size - here);
  }
  return bytes;
}
