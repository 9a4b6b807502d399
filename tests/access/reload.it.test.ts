import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { makeToken, tokenHash } from '../../server/access/static-tokens.ts';
import { ServerProcess } from '../../testing/server-process.ts';
import { until } from '../../testing/until.ts';

let server: ServerProcess | undefined;
let folder: string | undefined;
afterEach(async () => {
  await server?.kill();
  if (folder !== undefined) rmSync(folder, { recursive: true });
});

it('SIGHUP and the API read the tokens of the file again; a damaged file changes nothing', async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'reload-'));
  const file = path.join(folder, 'flashvsr.yaml');
  const [first, second, third] = [makeToken(), makeToken(), makeToken()];
  const write = (...tokens: string[]): void => {
    const entries = tokens.map((token, index) => ({ name: `t${index}`, hash: tokenHash(token), admin: true }));
    writeFileSync(file, JSON.stringify({ access: { mode: 'tokens', tokens: entries, failureDelayMs: 0 } }));
  };
  write(first);
  server = await ServerProcess.start({ args: ['--config', file, '--host', '0.0.0.0'] });
  const { url } = server;
  const ask = (token: string, to = '/api/admin/status', method = 'GET') =>
    fetch(url + to, { method, headers: { authorization: `Bearer ${token}`, connection: 'close' } });
  const statusOf = async (token: string): Promise<number> => (await ask(token)).status;
  expect([await statusOf(first), await statusOf(second)]).toEqual([200, 401]);

  write(second, third);
  server.signal('SIGHUP');
  await until(async () => (await statusOf(second)) === 200);
  expect(await statusOf(first)).toBe(401);

  writeFileSync(file, 'access: [');
  server.signal('SIGHUP');
  await until(() => server?.log.includes('access.reloadFailed'));
  const refused = await ask(second, '/api/admin/tokens/reload', 'POST');
  expect([refused.status, await refused.json()]).toMatchObject([409, { code: 'access.reload' }]);
  expect(await statusOf(second)).toBe(200);

  write(third);
  expect(await (await ask(second, '/api/admin/tokens/reload', 'POST')).json()).toEqual({ tokens: 1, ended: 0 });
  expect([await statusOf(second), await statusOf(third)]).toEqual([401, 200]);
});
