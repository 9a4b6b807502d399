import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fastify from 'fastify';
import { expect, it } from 'vitest';
import { broadcastName, MAX_NAME_LENGTH } from '../../broadcast/name.ts';
import { loadConfig } from '../../config/config.ts';
import { RecordingLibrary } from '../../egress/recording-library.ts';
import { recordingStem } from '../../egress/recording-name.ts';
import { HttpAccess } from '../authorize.ts';
import { registerRecordings } from '../recordings.ts';
import { accessFor } from '../../../testing/access-for.ts';

it('the recording of the longest names is sent: the router limits parameters, and the list links to it', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'recordings-'));
  // As createHttpServer has it.
  const app = fastify({ routerOptions: { maxParamLength: 160 } });
  try {
    const part = 'n'.repeat(MAX_NAME_LENGTH);
    const entry = { name: 'o'.repeat(32), broadcast: '*', type: 'recording', folder };
    const { outputs } = loadConfig({ argv: ['--outputs', JSON.stringify([entry])] });
    const stem = recordingStem(broadcastName.parse(`${part}/${part}`), entry.name);
    writeFileSync(join(folder, `${stem}_20261130T180557Z-100.webm`), 'longest');
    const configsOf = () => outputs.flatMap((output) => (output.type === 'recording' ? [output] : []));
    const library = new RecordingLibrary({ configsOf, openFiles: () => new Set() });
    const lasts: number[] = [];
    const access = new HttpAccess(accessFor(), { trustProxy: false, localRights: 'auto' });
    registerRecordings(app, access, library, (_request, ms) => lasts.push(ms));
    const [listed] = await library.list();
    const answer = await app.inject({ url: listed?.url ?? '' });
    expect([answer.statusCode, answer.body]).toEqual([200, 'longest']);
    // As long as its bytes need at 64 kB/s: the limit of other answers cut a film after 45 s.
    expect(lasts).toEqual([45_000 + 7 / 64]);
    const list = await app.inject({ url: '/recordings' });
    // No page of another site may embed them.
    for (const { headers } of [answer, list]) expect(headers['cross-origin-resource-policy']).toBe('same-origin');
    const outside = await app.inject({ url: `/recordings/..%2F${listed?.file}` });
    expect(outside.statusCode).toBe(404);
  } finally {
    await app.close();
    rmSync(folder, { recursive: true });
  }
});
