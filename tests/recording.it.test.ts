import { mkdtempSync, readFileSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { encodeClip, type Clip } from '../testing/clip.ts';
import { readFilm, type Film } from '../testing/film.ts';
import { likeness, picturesOf } from '../testing/numbered-film.ts';
import { makeNumberedVideo, writeY4m, type NumberedVideo } from '../testing/numbered-video.ts';
import { NodePublisher } from '../testing/peers/node-publisher.ts';
import { NodeViewer } from '../testing/peers/node-viewer.ts';
import { SignalingClient } from '../testing/peers/signaling-client.ts';
import { ServerProcess } from '../testing/server-process.ts';
import { until } from '../testing/until.ts';

/** Recordings of the whole server as a process, with a WebRTC publisher. */
const CLIP = new URL('../testdata/clips/astronaut_320x180.mp4', import.meta.url).pathname;
const CLIP_KEYFRAMES = 30;
let clip: Clip;
let numbered: NumberedVideo;
let folder: string;
const cleanup: (() => unknown)[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'recordings-'));
  const file = join(folder, 'numbered.y4m');
  numbered = makeNumberedVideo(CLIP, 320, 180, 60);
  writeY4m(numbered, file);
  clip = await encodeClip({
    codec: 'H264',
    file,
    seconds: 2,
    bitrateBps: 1_500_000,
    keyframeEveryFrames: CLIP_KEYFRAMES,
  });
  rmSync(file);
});
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
  for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function serve(...outputs: object[]): Promise<ServerProcess> {
  const server = await ServerProcess.start({
    args: ['--outputs', JSON.stringify(outputs), '--scale', '2', '--targets.allow', '["127.0.0.1"]'],
  });
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

async function outputs(
  server: ServerProcess,
): Promise<readonly { readonly name: string; readonly runs: readonly Run[] }[]> {
  const state = (await (await server.get('/debug/state')).json()) as { outputs: Awaited<ReturnType<typeof outputs>> };
  return state.outputs;
}

const runs = async (server: ServerProcess): Promise<readonly Run[]> =>
  (await outputs(server)).flatMap((each) => each.runs);

const files = (): string[] => readdirSync(folder).sort();
const archive = () => ({ name: 'archive', broadcast: '*', type: 'recording', folder });

/** Processes of the server that write. */
function muxers({ child: { pid } }: ServerProcess): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number);
  return children.filter((each) => readFileSync(`/proc/${each}/cmdline`, 'utf8').includes('muxer/child.ts'));
}

/** A server that accepts connections and never says a word. */
async function silentServer(): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => sockets.add(socket.on('error', () => undefined)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanup.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** In order, at the times of the source, and like it; `scale` is the result's. */
function compare(film: Film, scale: number): void {
  const { width, height, frames } = numbered;
  expect([film.width, film.height]).toEqual([width * scale, height * scale]);
  const seen = picturesOf(film);
  seen.slice(1).forEach(({ number, seconds }, index) => {
    const last = seen[index] as (typeof seen)[number];
    // The publisher answers a request with a jump to its next keyframe. A busy machine may leave pictures out, that one, too.
    if (Math.floor(number / CLIP_KEYFRAMES) !== Math.floor(last.number / CLIP_KEYFRAMES)) return;
    expect(seconds - last.seconds).toBeCloseTo(((number - last.number + frames.length) % frames.length) / 30, 2);
  });
  for (let index = 0; index < seen.length; index += 30) {
    expect(likeness(film, index, seen[index]?.number ?? 0, numbered)).toBeGreaterThan(30);
  }
}

it('result and source are recorded picture by picture, while another output hangs and a folder vanishes', async () => {
  const folders = { result: join(folder, 'result'), source: join(folder, 'source'), gone: join(folder, 'gone') };
  const server = await serve(
    { ...archive(), folder: folders.result },
    { ...archive(), name: 'original', folder: folders.source, track: 'source' },
    { ...archive(), name: 'gone', folder: folders.gone },
    { name: 'hung', broadcast: '*', type: 'rtmp', url: `rtmp://127.0.0.1:${await silentServer()}/live/{broadcast}` },
  );
  await publish(server, 'stage');
  const viewer = new NodeViewer({ codecs: ['H264'] });
  const signaling = await SignalingClient.connect(server.url);
  cleanup.push(
    () => signaling.close(),
    () => viewer.stop(),
  );
  await viewer.start(async (offer) => (await signaling.watch('stage', offer)).sdp);
  const run = async (output: string) => (await outputs(server)).find(({ name }) => name === output)?.runs[0];
  await until(async () => (await run('gone'))?.state === 'running', 'the recording');
  renameSync(folders.gone, `${folders.gone}-away`);
  await until(async () => (await run('gone'))?.error?.code === 'output.disk', 'the error');
  renameSync(`${folders.gone}-away`, folders.gone);
  await until(async () => (await run('gone'))?.state === 'running', 'the recording again');
  await until(async () => ((await run('archive'))?.frames ?? 0) > 60, 'pictures');
  expect((await run('hung'))?.state).not.toBe('running');
  const before = viewer.frames.length;
  await viewer.waitForFrames(before + 15);
  expect(viewer.getStats().packetsLost).toBe(0);
  expect(await (await server.get('/metrics')).text()).toContain(
    'flashvsr_output_runs{output="archive",type="recording",state="running"} 1',
  );
  const listed = (await (await server.get('/recordings')).json()) as {
    recordings: { output: string; open: boolean }[];
  };
  expect(listed.recordings.map(({ output, open }) => [output, open]).sort()).toEqual([
    ['archive', true],
    ['gone', false],
    ['gone', true],
    ['original', true],
  ]);
  // An orderly stop completes the files, though one output still hangs.
  server.signal('SIGTERM');
  expect(await server.exited).toMatchObject({ code: 0 });
  const only = async (path: string) => readFilm(join(path, readdirSync(path)[0] ?? ''));
  compare(await only(folders.result), 2);
  compare(await only(folders.source), 1);
});

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
