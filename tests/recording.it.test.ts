import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { encodeClip, type Clip } from '../testing/clip.ts';
import { readFilm } from '../testing/film.ts';
import { NodePublisher } from '../testing/peers/node-publisher.ts';
import { SignalingClient } from '../testing/peers/signaling-client.ts';
import { ServerProcess } from '../testing/server-process.ts';
import { until } from '../testing/until.ts';

/** Recordings of the whole server as a process, with a WebRTC publisher. */
let clip: Clip;
let folder: string;
const cleanup: (() => unknown)[] = [];

beforeAll(async () => {
  clip = await encodeClip({ codec: 'H264', seconds: 2, bitrateBps: 300_000 });
});
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'recordings-'));
});
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
  for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function serve(...outputs: object[]): Promise<ServerProcess> {
  const server = await ServerProcess.start({ args: ['--outputs', JSON.stringify(outputs), '--scale', '2'] });
  cleanup.push(() => server.kill());
  return server;
}

async function publish(server: ServerProcess, name: string): Promise<NodePublisher> {
  const signaling = await SignalingClient.connect(server.url);
  const publisher = new NodePublisher({ clip, audio: true });
  cleanup.push(
    () => publisher.stop(),
    () => signaling.close(),
  );
  await publisher.start(async (offer) => (await signaling.publish(name, offer)).sdp);
  return publisher;
}

interface Run {
  readonly broadcast: string;
  readonly state: string;
  readonly frames: number;
  readonly failures: number;
  readonly error?: { readonly code: string };
}

async function runs(server: ServerProcess): Promise<readonly Run[]> {
  const state = (await (await server.get('/debug/state')).json()) as { outputs: readonly { runs: readonly Run[] }[] };
  return state.outputs.flatMap((output) => output.runs);
}

const files = (): string[] => readdirSync(folder).sort();
const archive = () => ({ name: 'archive', broadcast: '*', type: 'recording', folder });

/** Processes of the server that write. */
function muxers({ child: { pid } }: ServerProcess): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number);
  return children.filter((each) => readFileSync(`/proc/${each}/cmdline`, 'utf8').includes('muxer/boot.mjs'));
}

it('kill -9 of the server and of the process that writes leaves files that play to the last second', async () => {
  const server = await serve(archive());
  await publish(server, 'room/ann');
  await until(async () => ((await runs(server))[0]?.frames ?? 0) > 45, 'a second and a half of frames');
  // The process that writes dies: the file stays, and another one is begun.
  const [pid = 0] = muxers(server);
  process.kill(pid, 'SIGKILL');
  await until(async () => (await runs(server))[0]?.failures === 1, 'the failure');
  await until(() => files().length === 2, 'another file');
  await until(async () => ((await runs(server))[0]?.frames ?? 0) > 105, 'two seconds of the second file');
  const frames = (await runs(server))[0]?.frames ?? 0;
  // Both at once, as when the machine's memory is full.
  const rest = muxers(server);
  await server.kill();
  for (const each of rest) process.kill(each, 'SIGKILL');
  const films = [];
  for (const name of files()) films.push(await readFilm(join(folder, name)));
  expect(files()).toEqual([
    expect.stringMatching(/^room~ann_archive_\d{8}T\d{6}Z\.mp4$/),
    expect.stringMatching(/^room~ann_archive_\d{8}T\d{6}Z\.mp4$/),
  ]);
  for (const film of films) {
    expect([film.width, film.height, film.video.codec, film.audio[0]?.codec]).toEqual([640, 360, 'h264', 'aac']);
  }
  const pictures = films.reduce((sum, { times }) => sum + times.length, 0);
  // At most a fragment, what its channel held and an unfinished picture are missing of each.
  expect(pictures).toBeGreaterThan(frames - 60);
});
