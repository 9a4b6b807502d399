import { execFile } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Coturn } from '../../../testing/interop/coturn.ts';
import { leftOut } from '../../../testing/interop/program.ts';
import { makeSelfSigned } from '../../access/self-signed.ts';
import { tokenHash } from '../../access/static-tokens.ts';
import { AppError } from '../../errors.ts';
import { probeIceServer } from '../../rtc/ice/probe.ts';
import { examine } from '../doctor/examine.ts';
import type { Finding } from '../doctor/finding.ts';
import type { Machine } from '../doctor/machine.ts';

let folder: string;
let taken: Server;
let deaf: Socket;
const file = (name: string): string => path.join(folder, name);
const portOf = (socket: { address(): unknown }): number => (socket.address() as { port: number }).port;

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'doctor-'));
  const names: [string] = ['live.example.org'];
  const write = (name: string, days: number): void => {
    const { cert, key } = makeSelfSigned({ names, addresses: [], days });
    writeFileSync(file(`${name}.pem`), cert);
    writeFileSync(file(`${name}.key`), key);
  };
  write('good', 100);
  write('soon', 5);
  // It begins a day ago.
  write('expired', -0.5);
  writeFileSync(file('plain'), '');
  writeFileSync(file('lone.onnx'), '');
  taken = createServer().listen(0, '127.0.0.1');
  deaf = createSocket('udp4').bind(0);
  await Promise.all([once(taken, 'listening'), once(deaf, 'listening')]);
});
afterAll(() => {
  taken.close();
  deaf.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A machine on which nothing is wrong. */
const HEALTHY: Machine = {
  nowMs: Date.now,
  openFiles: () => 65_536,
  clockSynchronised: async () => true,
  devices: async () => [{ device: 'cuda', name: 'NVIDIA H200', index: 0, usable: true, reason: '' }],
  nvidiaDriver: () => true,
  gpuPossible: () => true,
  probeGpu: async () => undefined,
  freeBytes: async () => 1e12,
  addresses: () => ['192.168.1.5'],
  isPublic: () => false,
  probeIceServer: async ({ urls }) =>
    urls.startsWith('stun')
      ? { kind: 'stun', address: ['198.51.100.9', 4321] }
      : { kind: 'turn', address: ['198.51.100.10', 50_000] },
};
const OLD_CARD = { device: 'cuda', name: 'GeForce GTX 1080', index: 0, usable: false } as const;

type Flags = readonly string[];
const TLS = (cert: string, key = cert): Flags => [
  ...['--tls-cert', file(`${cert}.pem`), '--tls-key', file(`${key}.key`)],
  ...['--http.publicUrl', 'https://live.example.org'],
];
const OUTPUT = (where: string): Flags => [
  '--outputs',
  JSON.stringify([{ name: 'films', type: 'recording', broadcast: '*', folder: where }]),
];
const STUN: Flags = ['--ice.servers', '[{"urls":"stun:stun.example.org:3478"}]'];
const TURN: Flags = [
  '--ice.servers',
  '[{"urls":"turn:turn.example.org:3478","username":"u","secret":"hidden-secret"}]',
];
const TOKEN = [{ name: 'old', hash: tokenHash('x'), watch: ['*'], expires: '2020-01-01T00:00:00Z' }];

const found = async (flags: Flags, machine: Partial<Machine> = {}): Promise<Finding[]> =>
  examine({ argv: ['--port', '0', '--model', 'nano', ...flags] }, { ...HEALTHY, ...machine });

describe('doctor', () => {
  it('has nothing to say where nothing is wrong', async () => {
    const flags = [...TLS('good'), ...OUTPUT(file('made-later')), ...TURN];
    const findings = await found([
      ...flags,
      '--host',
      '0.0.0.0',
      '--access.mode',
      'jwt',
      '--access.jwtSecret',
      's'.repeat(32),
    ]);
    expect(findings.filter(({ status }) => status !== 'ok')).toEqual([]);
    expect(new Set(findings.map(({ check }) => check)).size).toBe(13);
  });

  it.each<[string, Finding['status'], RegExp, () => Flags, Partial<Machine>?]>([
    ['open files', 'fail', /limit of open files is 64/, () => [], { openFiles: () => 64 }],
    ['open files', 'warn', /1024/, () => [], { openFiles: () => 1024 }],
    ['clock', 'fail', /before this server was installed/, () => [], { nowMs: () => -1e12 }],
    ['clock', 'warn', /not synchronised/, () => [], { clockSynchronised: async () => false }],
    ['settings', 'fail', /media\.jitterMs/, () => ['--media.jitterMs', 'soon']],
    ['access', 'fail', /access\.mode/, () => ['--host', '0.0.0.0']],
    ['access', 'warn', /mode open on 0\.0\.0\.0/, () => ['--host', '0.0.0.0', '--access.mode', 'open']],
    ['access', 'warn', /ended: old/, () => ['--access.mode', 'tokens', '--access.tokens', JSON.stringify(TOKEN)]],
    ['access', 'warn', /proxy on this machine/, () => ['--http.publicUrl', 'https://live.example.org']],
    ['certificate', 'fail', /is not the PEM key of/, () => TLS('good', 'soon')],
    ['certificate', 'fail', /cannot be read/, () => TLS('absent')],
    ['certificate', 'fail', /expired on/, () => TLS('expired')],
    ['certificate', 'fail', /valid from/, () => TLS('good'), { nowMs: () => Date.now() - 5 * 86_400_000 }],
    [
      'certificate',
      'fail',
      /not for other\.example/,
      () => [...TLS('good'), '--http.publicUrl', 'https://other.example'],
    ],
    ['certificate', 'warn', /expires on/, () => TLS('soon')],
    ['certificate', 'warn', /no camera/, () => ['--host', '0.0.0.0', '--access.mode', 'open']],
    ['port', 'fail', /is in use/, () => ['--port', String(portOf(taken))]],
    ['port', 'fail', /no address of this machine/, () => ['--host', '203.0.113.77', '--access.mode', 'open']],
    ['UDP ports', 'fail', /0 of 1 free/, () => ['--ice.portRange', JSON.stringify([portOf(deaf), portOf(deaf)])]],
    ['address', 'warn', /this network alone/, () => ['--host', '0.0.0.0', '--access.mode', 'open']],
    ['address', 'warn', /sees 198\.51\.100\.9: this machine is behind NAT/, () => STUN],
    ['address', 'fail', /stun:127\.0\.0\.1.*no answer/, () => deafServer('stun'), { probeIceServer: impatient }],
    ['TURN', 'fail', /turn:127\.0\.0\.1.*no answer/, () => deafServer('turn'), { probeIceServer: impatient }],
    ['model', 'fail', /There is no model "nona"/, () => ['--model', 'nona']],
    ['cuda', 'fail', /compute capability 6\.1/, () => ['--model.device', 'cuda', '--model', 'auto'], tooOld()],
    ['cuda', 'warn', /compute capability 6\.1/, () => [], tooOld()],
    ['cuda', 'fail', /names 3/, () => ['--model.devices', '[3]']],
    ['cuda', 'fail', /no GPU/, () => ['--model.device', 'cuda', '--model', 'auto'], { devices: async () => [] }],
    ['cuda', 'fail', /not been built/, () => ['--model', 'flashvsr-synthetic'], { devices: unbuilt }],
    ['vulkan', 'fail', /no adapter/, () => ['--model.device', 'gpu'], { gpuPossible: () => false }],
    ['vulkan', 'fail', /driver crashed/, () => ['--model.device', 'gpu'], { probeGpu: async () => 'driver crashed' }],
    [
      'vulkan',
      'warn',
      /no faster/,
      () => ['--model', file('lone.onnx')],
      { probeGpu: async () => 'the GPU is no faster' },
    ],
    ['disk', 'fail', /is no folder/, () => OUTPUT(file('plain'))],
    ['disk', 'fail', /0\.1 GB free/, () => OUTPUT(folder), { freeBytes: async () => 1e8 }],
    ['disk', 'warn', /2\.0 GB free/, () => OUTPUT(folder), { freeBytes: async () => 2e9 }],
  ])('%s: %s, %s', async (check, status, about, flags, machine) => {
    const findings = await found(flags(), machine);
    const [finding] = findings.filter((each) => each.check === check && about.test(each.about));
    expect(finding, JSON.stringify(findings)).toMatchObject({ status });
    expect(finding?.remedy).not.toBe('');
  });

  it('names a model file that is damaged', async () => {
    const manifest = {
      kind: 'onnx',
      name: 'bad',
      scale: 4,
      file: 'bad.onnx',
      sha256: '0'.repeat(64),
      valueRange: [0, 1],
    };
    const model = mkdtempSync(path.join(folder, 'bad-'));
    writeFileSync(path.join(model, 'manifest.json'), JSON.stringify(manifest));
    writeFileSync(path.join(model, 'bad.onnx'), 'other');
    const [finding] = (await found(['--model', model])).filter(({ check }) => check === 'model');
    expect(finding).toMatchObject({ status: 'fail', about: expect.stringMatching(/sha256/) as string });
  });

  it('says no secret', async () => {
    const refused = (): Promise<never> => Promise.reject(new AppError('peer.connection', 'refused.'));
    const text = JSON.stringify(await found(TURN, { probeIceServer: refused }));
    expect(text).toContain('turn.example.org');
    expect(text).not.toContain('hidden-secret');
  });

  it('is a command: a line each or JSON, status 1 when a line fails', async () => {
    const ran = (...flags: string[]): Promise<{ code: number; output: string }> =>
      new Promise((resolve) => {
        const command = fileURLToPath(new URL('../../bin.mjs', import.meta.url));
        const args = [command, 'doctor', ...flags];
        const child = execFile(process.execPath, args, { cwd: folder }, (_error, output) =>
          resolve({ code: child.exitCode ?? -1, output }),
        );
      });
    const broken = ['--', '--port', String(portOf(taken)), '--model', 'resize', '--model.device', 'cpu'];
    const [{ code, output }, text] = await Promise.all([ran('--json', ...broken), ran(...broken)]);
    expect(code).toBe(1);
    const { findings } = JSON.parse(output) as { findings: Finding[] };
    expect(findings.filter(({ status }) => status === 'fail').map(({ check }) => check)).toEqual(['port']);
    expect(text.output).toMatch(/^fail {2}port .*in use$/m);
    expect(text.output).toMatch(/-> Stop the program/);
  });
});

it.skipIf(leftOut('turnserver', ['turnserver', '--version']))('a TURN server is asked for an allocation', async () => {
  const server = await Coturn.start('the secret');
  try {
    const urls = `turn:127.0.0.1:${server.port}?transport=tcp`;
    const { address } = await probeIceServer({ urls, secret: 'the secret' }, 20_000);
    expect(address[0]).toBe('127.0.0.1');
    await expect(probeIceServer({ urls, secret: 'another' }, 20_000)).rejects.toMatchObject({
      code: 'peer.connection',
    });
  } finally {
    await server.close();
  }
});

function tooOld(): Partial<Machine> {
  return { devices: async () => [{ ...OLD_CARD, reason: 'compute capability 6.1, the library needs 8.0' }] };
}

async function unbuilt(): Promise<never> {
  throw new AppError('engine.unavailable', 'The native addon has not been built.');
}

/** A server that takes datagrams and answers none. */
function deafServer(kind: 'stun' | 'turn'): Flags {
  const credentials = kind === 'turn' ? { username: 'u', credential: 'c' } : {};
  return ['--ice.servers', JSON.stringify([{ urls: `${kind}:127.0.0.1:${portOf(deaf)}`, ...credentials }])];
}

/** The real one, which nobody answers: no need to wait for it. */
function impatient(...[server]: Parameters<typeof probeIceServer>): ReturnType<typeof probeIceServer> {
  return probeIceServer(server, 200);
}
