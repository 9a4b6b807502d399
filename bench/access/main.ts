import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { startApp } from '../../server/app.ts';
import { makeToken, tokenHash } from '../../server/access/static-tokens.ts';
import { loadConfig } from '../../server/config/config.ts';
import { createLog } from '../../server/log.ts';
import { quantile } from '../../server/media/quantile.ts';
import { provenance } from '../machine.ts';
import { markdownTable } from '../table.ts';

/**
 * `npm run bench:access`: how long a refusal takes for a name that exists and for one that does not, with no, a wrong and a
 * foreign token, in turn; without the delay of failures, which would hide a difference. A report: a quiet machine shows equal rows.
 */
const { values } = parseArgs({ options: { requests: { type: 'string', default: '2000' } } });

const folder = mkdtempSync(path.join(tmpdir(), 'access-bench-'));
const exists = 'stage_archive_20261130T180557Z.mp4';
writeFileSync(path.join(folder, exists), 'recording');
const foreign = makeToken();
const tokens = [{ name: 'foreign', hash: tokenHash(foreign), playback: ['other'], watch: ['other'] }];
const outputs = [{ name: 'archive', broadcast: 'nobody', type: 'recording', folder }];
const config = loadConfig({
  argv: [
    ...['--port', '0', '--host', '0.0.0.0', '--model', 'resize', '--log-level', 'silent'],
    ...['--access.mode', 'tokens', '--access.tokens', JSON.stringify(tokens), '--access.failureDelayMs', '0'],
    ...['--outputs', JSON.stringify(outputs), '--limits.maxRequestsPerSecond', '100000'],
  ],
});
const app = await startApp(config, createLog(config.log));
const url = app.url.replace('localhost', '127.0.0.1');

const CASES = [
  ['no token', undefined],
  ['wrong token', makeToken()],
  ['foreign token', foreign],
] as const;
const FILES = [
  ['exists', exists],
  ['does not', exists.replace('stage', 'nobody')],
] as const;
const rows = CASES.flatMap(([who, token]) =>
  FILES.map(([what, file]) => ({ who, token, what, file, ms: [] as number[] })),
);

const count = Number(values.requests);
// The first requests are slower for everybody: compiled code, the connection.
const warmUp = rows.length * 20;
for (let index = 0; index < count + warmUp; index += 1) {
  const row = rows[index % rows.length];
  if (row === undefined) continue;
  const headers = row.token === undefined ? {} : { authorization: `Bearer ${row.token}` };
  const startedMs = performance.now();
  const response = await fetch(`${url}/recordings/${row.file}`, { headers });
  await response.arrayBuffer();
  if (index >= warmUp) row.ms.push(performance.now() - startedMs);
}
await app.close();
rmSync(folder, { recursive: true });

const { date, commit, machine, node } = provenance('npm run bench:access');
console.log(`${machine}, Node ${node}, ${commit}, ${date}\n`);
console.log(
  markdownTable([
    ['credential', 'recording', 'requests', 'median, ms', '95 %, ms'],
    ...rows.map(({ who, what, ms }) => [
      ...[who, what, String(ms.length)],
      ...[quantile(ms, 0.5).toFixed(3), quantile(ms, 0.95).toFixed(3)],
    ]),
  ]),
);
