import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { GOLDEN_WEIGHTS, HAVE_ADDON } from '../../../../testing/micro-flashvsr.ts';
import { availableModels } from '../../catalogue.ts';
import { AppError } from '../../../errors.ts';
import { importOfficial } from '../../import.ts';
import { OFFICIAL_FILES } from '../official.ts';
import { partPath } from '../download.ts';
import { pullModel, type PullOptions } from '../pull.ts';
import { verifyModel } from '../../verify.ts';
import { HubServer } from './hub-server.ts';

const REPOSITORY = 'JunhaoZhuang/FlashVSR-v1.1';
const { transformer, projector, decoder, prompt } = OFFICIAL_FILES;
const golden = (name: string): Buffer => readFileSync(`${GOLDEN_WEIGHTS}/${name}`);

const content: ReadonlyMap<string, Buffer> = new Map([
  [`${REPOSITORY}/${transformer}`, golden(transformer)],
  [`${REPOSITORY}/${projector}`, golden(projector)],
  [`${REPOSITORY}/${decoder}`, golden(decoder)],
  ...[transformer, projector, decoder].map((name) => [`NewOwner/FlashVSR-v1.1/${name}`, golden(name)] as const),
  ['code/prompt.pth', golden(prompt)],
]);

let hub: HubServer;
let folder: string;

beforeEach(async () => {
  hub = new HubServer(content, new Set(['code/prompt.pth']));
  await hub.start();
  folder = mkdtempSync(path.join(tmpdir(), 'pull-test-'));
  hub.stored = storedBytes;
});
afterEach(async () => {
  await hub.stop();
  rmSync(folder, { recursive: true, force: true });
});

function options(rest: Partial<PullOptions> = {}): PullOptions {
  return {
    model: 'flashvsr-v1.1',
    modelsFolder: folder,
    endpoint: `${hub.endpoint}/`,
    token: undefined,
    promptUrl: `${hub.endpoint}/code/resolve/main/prompt.pth`,
    download: { retries: 3, retryDelayMs: 5, stallMs: 30_000 },
    ...rest,
  };
}

async function refusal(run: Promise<unknown>): Promise<AppError> {
  const error: unknown = await run.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(AppError);
  return error as AppError;
}

const storageRequests = (file: string) =>
  hub.requests.filter((seen) => seen.side === 'storage' && seen.path.includes(file));
const downloadFolder = (): string => path.join(folder, '.download-flashvsr-v1.1');
const storedBytes = (file: string): number => {
  const part = readdirSync(downloadFolder()).find((name) => name.startsWith(file) && name.endsWith('.part'));
  return part === undefined ? 0 : statSync(path.join(downloadFolder(), part)).size;
};

describe.skipIf(!HAVE_ADDON)('models pull', () => {
  it('fetches through redirects at one commit, imports, verifies and leaves only the model', async () => {
    const steps: string[] = [];
    let last = [0, 0];
    const { manifest, folder: place } = await pullModel(
      options({
        token: 'hf_secret',
        onProgress: (step, done, total) => {
          if (steps.at(-1) !== step) steps.push(step);
          if (step === 'download') last = [done, total];
        },
      }),
    );
    expect(place).toBe(path.join(folder, 'flashvsr-v1.1'));
    expect(manifest).toMatchObject({ variant: 'v1.1', origin: `${REPOSITORY}@${hub.commit}`, licence: 'Apache-2.0' });
    expect(manifest.sources.map((source) => source.bytes)).toEqual(
      [transformer, projector, decoder, prompt].map((name) => golden(name).length),
    );
    expect(steps).toEqual(['download', 'check', 'write']);
    expect(last[0]).toBe(last[1]);
    expect(readdirSync(folder)).toEqual(['flashvsr-v1.1']);
    // Content comes from the commit the first answer named; the token stays with the hub.
    const gets = hub.requests.filter((seen) => seen.side === 'hub' && seen.method === 'GET');
    expect(
      gets.filter((seen) => seen.path.startsWith(`/${REPOSITORY}`)).every((seen) => seen.path.includes(hub.commit)),
    ).toBe(true);
    expect(
      hub.requests.filter((seen) => seen.side === 'storage').every((seen) => seen.authorization === undefined),
    ).toBe(true);
    expect(
      hub.requests.filter((seen) => seen.path.startsWith('/code')).every((seen) => seen.authorization === undefined),
    ).toBe(true);
    const [model] = availableModels([folder]);
    expect(model?.manifest.kind).toBe('flashvsr');
    if (model !== undefined) {
      expect(await verifyModel(model)).toEqual({
        name: 'flashvsr-v1.1',
        problems: [],
        checked: ['size', 'sha256', 'tensors'],
      });
    }
  });

  it('follows a renamed repository', async () => {
    hub.renamed = [REPOSITORY, 'NewOwner/FlashVSR-v1.1'];
    expect(content.has(`NewOwner/FlashVSR-v1.1/${transformer}`)).toBe(true);
    expect((await pullModel(options())).manifest.variant).toBe('v1.1');
  });

  it('goes on after cut connections, stalls and busy answers, byte by byte where it stopped', async () => {
    hub.trouble.set(`${REPOSITORY}/${transformer}`, { cuts: [500_000, 700_000, 1_000_000] });
    hub.trouble.set(`${REPOSITORY}/${projector}`, { statuses: [503, 429] });
    hub.trouble.set(`${REPOSITORY}/${decoder}`, { stalls: 1 });
    await pullModel(options({ download: { retries: 3, retryDelayMs: 5, stallMs: 2000 } }));
    const starts = storageRequests(transformer).map((seen) => Number(/\d+/.exec(seen.range ?? '0')?.[0]));
    expect(starts.length).toBe(4);
    expect(starts).toEqual([...starts].sort((a, b) => a - b));
    expect(starts[3]).toBeGreaterThan(starts[1] ?? 0);
    expect(storageRequests(projector).length).toBe(3);
    expect(storageRequests(decoder).length).toBe(2);
  });

  it('a second run goes on where the first one gave up', async () => {
    hub.trouble.set(`${REPOSITORY}/${transformer}`, { cuts: [1_500_000] });
    const first = await refusal(pullModel(options({ download: { retries: 0, retryDelayMs: 1, stallMs: 30_000 } })));
    expect(first.code).toBe('download.failed');
    expect(first.retryable).toBe(true);
    const parts = readdirSync(downloadFolder()).filter((name) => name.endsWith('.part'));
    expect(parts.length).toBe(1);
    hub.requests.length = 0;
    await pullModel(options());
    expect(storageRequests(transformer).map((seen) => seen.range)).toEqual([
      expect.stringMatching(/^bytes=[1-9]\d+-$/),
    ]);
  });

  it('starts again when the server ignores ranges', async () => {
    hub.trouble.set(`${REPOSITORY}/${transformer}`, { cuts: [800_000], ignoreRange: true });
    await pullModel(options());
    expect(storageRequests(transformer).length).toBe(2);
  });

  it('refuses content with the wrong checksum, deletes it and names both', async () => {
    hub.trouble.set(`${REPOSITORY}/${projector}`, { corrupt: true });
    const error = await refusal(pullModel(options()));
    expect(error.message).toMatch(/LQ_proj_in\.ckpt has the sha256 [0-9a-f]{64} instead of [0-9a-f]{64}/);
    expect(error.message).not.toContain('signature');
    expect(readdirSync(downloadFolder()).filter((name) => name.includes(projector))).toEqual([]);
    expect(existsSync(path.join(folder, 'flashvsr-v1.1'))).toBe(false);
    hub.trouble.clear();
    await pullModel(options());
  });

  it('says what to do about 401 and 404 before anything is fetched', async () => {
    hub.token = 'hf_right';
    const denied = await refusal(pullModel(options({ token: 'hf_wrong' })));
    expect(denied.remedy).toContain('HF_TOKEN');
    expect(denied.context).toMatchObject({ status: 401 });
    const missing = await refusal(pullModel(options({ model: 'flashvsr-v1', token: 'hf_right' })));
    expect(missing.message).toContain('JunhaoZhuang/FlashVSR/resolve/main');
    expect(missing.context).toMatchObject({ status: 404 });
    expect(hub.requests.some((seen) => seen.side === 'storage')).toBe(false);
    const unknown = await refusal(pullModel(options({ model: 'flashvsr-v9' })));
    expect(unknown.remedy).toContain('flashvsr-v1.1');
    hub.token = undefined;
  });

  it('says which host cannot be reached', async () => {
    const error = await refusal(pullModel(options({ endpoint: 'http://127.0.0.1:9' })));
    expect(error.message).toContain('127.0.0.1:9 cannot be reached');
    expect((await refusal(pullModel(options({ endpoint: 'mirror.example' })))).remedy).toContain('HF_ENDPOINT');
  });

  it('asks for the disk space of the rest and of the import, before fetching', async () => {
    const asked: string[] = [];
    const full = await refusal(
      pullModel(
        options({
          freeBytes: async (place) => {
            asked.push(place);
            return 70 * 2 ** 20;
          },
        }),
      ),
    );
    expect(asked).toEqual([downloadFolder()]);
    expect(full.message).toMatch(/70 MiB of free space; the download and the import need 76 MiB/);
    expect(hub.requests.some((seen) => seen.method === 'GET')).toBe(false);
  });

  it.skipIf(!existsSync('/dev/full'))(
    'names a disk that fills while it downloads, and what to do; no model appears',
    async () => {
      await pullModel(options({ keep: true }));
      const file = path.join(downloadFolder(), transformer);
      rmSync(file);
      rmSync(path.join(folder, 'flashvsr-v1.1'), { recursive: true });
      // Every write to it fails with ENOSPC.
      const etag = createHash('sha256').update(golden(transformer)).digest('hex');
      symlinkSync('/dev/full', partPath(file, etag));
      const full = await refusal(pullModel(options()));
      expect(full.code).toBe('download.failed');
      expect(full.message).toMatch(/ENOSPC/);
      expect(full.remedy).toMatch(/Free disk space and run the command again/);
      expect([existsSync(file), existsSync(path.join(folder, 'flashvsr-v1.1'))]).toEqual([false, false]);
    },
  );

  it('takes a local prompt tensor, keeps an existing model and keeps the files when asked', async () => {
    await pullModel(options({ prompt: `${GOLDEN_WEIGHTS}/${prompt}`, keep: true }));
    expect(hub.requests.some((seen) => seen.path.startsWith('/code'))).toBe(false);
    expect(readdirSync(downloadFolder()).sort()).toEqual([projector, decoder, transformer].sort());
    expect((await refusal(pullModel(options()))).message).toContain('is there already');
    hub.requests.length = 0;
    await pullModel(options({ prompt: `${GOLDEN_WEIGHTS}/${prompt}`, replace: true }));
    // Files that are here and right are not fetched again.
    expect(hub.requests.some((seen) => seen.side === 'storage')).toBe(false);
  });
});

describe.skipIf(!HAVE_ADDON)('models import and verify', () => {
  const importGolden = async (name: string, variant: 'v1' | 'v1.1') =>
    importOfficial({ from: GOLDEN_WEIGHTS, name, variant, modelsFolder: folder });

  it('warns when the same files were imported as the other variant', async () => {
    expect((await importGolden('one', 'v1')).warnings).toEqual([]);
    const { warnings } = await importGolden('two', 'v1.1');
    expect(warnings.length).toBe(2);
    expect(warnings[0]).toContain('imported with as v1, not v1.1');
  });

  it('refuses bad names, missing folders, a missing prompt and existing models', async () => {
    for (const name of ['', '..', 'a/b', '.hidden', 'x'.repeat(65)]) {
      expect((await refusal(importGolden(name, 'v1'))).code).toBe('config.invalid');
    }
    const from = path.join(folder, 'none');
    expect((await refusal(importOfficial({ from, name: 'x', variant: 'v1', modelsFolder: folder }))).message).toContain(
      'not a folder',
    );
    const empty = mkdtempSync(path.join(folder, 'empty-'));
    expect(
      (await refusal(importOfficial({ from: empty, name: 'x', variant: 'v1', modelsFolder: folder }))).remedy,
    ).toContain('--prompt');
    await importGolden('one', 'v1');
    expect((await refusal(importGolden('one', 'v1'))).remedy).toContain('--replace');
  });

  it('finds a changed byte, a cut file and a manifest that lies', async () => {
    const { folder: place } = await importGolden('one', 'v1');
    const file = path.join(place, 'model.safetensors');
    const good = readFileSync(file);
    const verdict = async (): Promise<string> => {
      const [model] = availableModels([folder]);
      if (model === undefined) throw new Error('no model');
      return (await verifyModel(model)).problems.join('\n');
    };
    expect(await verdict()).toBe('');
    const bad = Buffer.from(good);
    bad.writeUInt8(bad.readUInt8(bad.length - 1) ^ 1, bad.length - 1);
    writeFileSync(file, bad);
    expect(await verdict()).toMatch(/has the sha256 .* instead of/);
    writeFileSync(file, good.subarray(0, good.length - 1));
    expect(await verdict()).toMatch(/bytes instead of/);
    writeFileSync(file, good);
    const manifest = path.join(place, 'manifest.json');
    writeFileSync(manifest, readFileSync(manifest, 'utf8').replace('"variant": "v1"', '"variant": "v1.1"'));
    expect(await verdict()).toContain('says it is v1, its manifest says v1.1');
  });
});
