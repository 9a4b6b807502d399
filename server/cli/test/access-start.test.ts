import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';
import { tokenHash } from '../../access/static-tokens.ts';
import { configSchema, loadConfig } from '../../config/config.ts';
import { answeringAt, lanBanner, lanStart } from '../lan-start.ts';
import { runServer } from '../serve.ts';
import { newToken } from '../token.ts';

it('a server that others reach starts with a written mode alone', () => {
  expect(() => loadConfig({ argv: ['--host', '0.0.0.0'] })).toThrow('access.mode');
  expect(() => loadConfig({ argv: ['--host', '::'] })).toThrow('--lan');
  expect(loadConfig({ argv: ['--host', '0.0.0.0', '--access.mode', 'open'] }).access.mode).toBe('open');
  expect(loadConfig({ argv: ['--host', '::1'] }).access.mode).toBeUndefined();
});

it('--lan is tokens on all addresses over HTTPS; the links have a key each behind the #', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'lan-'));
  try {
    expect(lanStart(loadConfig({}))).toBeUndefined();
    const start = lanStart(loadConfig({ argv: ['--lan', '--access.lanFolder', folder] }));
    const { http, access } = start?.config ?? {};
    expect(http).toMatchObject({ host: '0.0.0.0', tlsCertificateFile: path.join(folder, 'certificate.pem') });
    const keys = start?.keys ?? { publish: '', watch: '', links: '' };
    expect(access).toMatchObject({ mode: 'tokens', linkSecret: keys.links });
    expect(access?.tokens.map(({ hash, publish, watch, admin }) => ({ hash, publish, watch, admin }))).toEqual([
      { hash: tokenHash(keys.publish), publish: ['*'], watch: ['*'], admin: false },
      { hash: tokenHash(keys.watch), publish: [], watch: ['*'], admin: false },
    ]);
    const text = lanBanner('https://localhost:8080', keys, false, ['192.168.1.5', 'fd00::5']);
    expect(text).toContain(`publish https://192.168.1.5:8080/#key=${keys.publish}\n`);
    expect(text).toContain(`watch   https://192.168.1.5:8080/#key=${keys.watch}\n`);
    expect(text).toContain('also at https://[fd00::5]:8080\n');
    expect(lanBanner('https://localhost:8080', keys, true, ['192.168.1.5'])).toMatch(/[▀▄█]/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

it('the links of --lan have addresses at which the server answers', () => {
  const addresses = ['192.168.1.5', '10.0.0.5', 'fd00::5'];
  expect(answeringAt('0.0.0.0', addresses)).toEqual(['192.168.1.5', '10.0.0.5']);
  expect(answeringAt('::', addresses)).toEqual(addresses);
  expect(answeringAt('10.0.0.5', addresses)).toEqual(['10.0.0.5']);
});

it('every command that serves has what --lan stands for before anything listens', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'lan-'));
  try {
    const file = path.join(folder, 'file');
    writeFileSync(file, '');
    const config = loadConfig({ argv: ['--host', '0.0.0.0', '--lan', '--access.lanFolder', path.join(file, 'lan')] });
    await expect(runServer(config)).rejects.toMatchObject({ code: 'file.unwritable' });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

it('token prints an entry that the configuration takes, with the hash of the token', () => {
  const flags = { publish: ['stage'], watch: ['*'], playback: [], days: '30' };
  const text = newToken('studio', flags, 'the-token', Date.parse('2026-01-01T00:00:00Z'));
  const entry = JSON.parse(/- (\{.*\})/.exec(text)?.[1] ?? '') as object;
  expect(entry).toEqual({
    ...{ name: 'studio', hash: tokenHash('the-token'), publish: ['stage'], watch: ['*'] },
    expires: '2026-01-31T00:00:00.000Z',
  });
  expect(configSchema.safeParse({ access: { mode: 'tokens', tokens: [entry] } }).success).toBe(true);
  const nothing = { publish: [], watch: [], playback: [] };
  expect(() => newToken('studio', nothing)).toThrow('no right');
  expect(() => newToken('a b', flags)).toThrow('name');
  expect(() => newToken('studio', { ...flags, days: '-1' })).toThrow('--days');
});
