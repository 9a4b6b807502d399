import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { AppError } from '../errors.ts';
import { checkModel } from '../upscalers/flashvsr/binding.ts';
import type { AvailableModel } from './catalogue.ts';
import { sha256OfFile } from './hub/download.ts';
import type { StepProgress } from './import.ts';
import type { FlashVsrManifest, OnnxManifest } from './manifest.ts';

export interface Verdict {
  readonly name: string;
  /** Empty: the model is as its manifest says. */
  readonly problems: readonly string[];
  /** What was looked at, for people. */
  readonly checked: readonly string[];
}

/** Size, sha256, and for FlashVSR every tensor's name, shape, type and values. Never throws for a bad model. */
export async function verifyModel(
  { name, folder, manifest }: AvailableModel,
  onProgress?: StepProgress,
): Promise<Verdict> {
  const problems: string[] = [];
  const checked: string[] = [];
  try {
    if (manifest.kind === 'flashvsr') await verifyFlashVsr(folder, manifest, problems, checked, onProgress);
    else await verifyOnnx(folder, manifest, problems, checked, onProgress);
  } catch (error) {
    problems.push(AppError.from(error).message);
  }
  return { name, problems, checked };
}

async function verifyFlashVsr(
  folder: string,
  manifest: FlashVsrManifest,
  problems: string[],
  checked: string[],
  onProgress?: StepProgress,
): Promise<void> {
  const file = path.join(folder, manifest.file);
  const before = problems.length;
  await verifyFile(file, manifest.bytes, manifest.sha256, problems, onProgress);
  checked.push('size', 'sha256');
  if (problems.length > before) return;
  const dims = await checkModel({ kind: 'imported', path: file }, onProgress);
  checked.push('tensors');
  if (dims.variant !== manifest.variant) {
    problems.push(`${file} says it is ${dims.variant}, its manifest says ${manifest.variant}.`);
  }
}

/** An ONNX model's manifest may state a sum; shipped ones do. */
async function verifyOnnx(
  folder: string,
  manifest: OnnxManifest,
  problems: string[],
  checked: string[],
  onProgress?: StepProgress,
): Promise<void> {
  const file = path.join(folder, manifest.file);
  if (manifest.sha256 === undefined) {
    if (!existsSync(file)) problems.push(`${file} is missing.`);
    checked.push('presence');
    return;
  }
  await verifyFile(file, manifest.bytes, manifest.sha256, problems, onProgress);
  checked.push('sha256');
}

async function verifyFile(
  file: string,
  bytes: number | undefined,
  sha256: string,
  problems: string[],
  onProgress?: StepProgress,
): Promise<void> {
  if (!existsSync(file)) {
    problems.push(`${file} is missing.`);
    return;
  }
  const { size } = statSync(file);
  if (bytes !== undefined && size !== bytes) {
    problems.push(`${file} has ${size} bytes instead of ${bytes}.`);
    return;
  }
  const is = await sha256OfFile(file, (done) => onProgress?.('hash', done, size));
  if (is !== sha256) problems.push(`${file} has the sha256 ${is} instead of ${sha256}.`);
}
