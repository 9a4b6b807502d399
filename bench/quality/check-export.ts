/**
 * Compares onnxruntime's output of the shipped models with what PyTorch computed at export (training/export.py --check DIR).
 *
 *     npx tsx bench/quality/check-export.ts --models models --check DIR
 *
 * The graphs are integer: a sample may differ by a grey level where a float rounding fell the other way, and by two behind several
 * identities, whose sums onnxruntime rounds in fixed point (one sample in ten of nano differs by one, single ones by two).
 */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { loadProductModel } from './product-model.ts';

interface CheckCase {
  width: number;
  height: number;
  frames: number;
  file: string;
}

const { values } = parseArgs({ options: { models: { type: 'string', default: 'models' }, check: { type: 'string' } } });
if (!values.check) throw new Error('--check DIR is missing: the folder that training/export.py --check wrote');
const ALLOWED_LEVELS = 2;
let failed = false;
const files = readdirSync(values.check).filter((name) => name.endsWith('.json'));
if (!files.length) throw new Error(`${values.check} holds no .json of training/export.py --check`);
for (const file of files) {
  const { model, cases } = JSON.parse(readFileSync(join(values.check, file), 'utf8')) as {
    model: string;
    cases: CheckCase[];
  };
  const network = await loadProductModel(join(values.models, model), 2);
  for (const { width, height, frames, file: name } of cases) {
    const input = readFileSync(join(values.check, `${name}.in`));
    const expected = readFileSync(join(values.check, `${name}.out`));
    const frameBytes = input.length / frames;
    const outBytes = expected.length / frames;
    network.reset();
    let largest = 0;
    let different = 0;
    for (let t = 0; t < frames; t++) {
      const output = await network.upscale({
        width,
        height,
        data: new Uint8Array(input.subarray(t * frameBytes, (t + 1) * frameBytes)),
      });
      for (let i = 0; i < outBytes; i++) {
        const gap = Math.abs((output.data[i] ?? NaN) - (expected[t * outBytes + i] ?? NaN));
        if (!(gap <= largest)) largest = gap;
        if (gap !== 0) different++;
      }
    }
    const good = largest <= ALLOWED_LEVELS;
    failed ||= !good;
    const share = ((100 * different) / expected.length).toFixed(2);
    console.log(
      `${good ? 'ok  ' : 'FAIL'} ${name}: largest difference ${largest} levels of ${ALLOWED_LEVELS}, ${share} % of samples differ`,
    );
  }
  await network.close();
}
if (failed) process.exitCode = 1;
