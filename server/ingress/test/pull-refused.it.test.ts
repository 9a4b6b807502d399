import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer, type ServerResponse } from 'node:http';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { TargetPolicy } from '../../access/target-policy.ts';
import { AppError } from '../../errors.ts';
import { runFfmpeg } from '../../../testing/film.ts';
import { makePullClip } from '../../../testing/pull-clip.ts';
import { RtmpConnectServer } from '../../../testing/rtmp-connect.ts';
import { RtspServer } from '../../../testing/rtsp-server.ts';
import { until } from '../../../testing/until.ts';
import type { PullJob } from '../child/messages.ts';
import { pull } from '../child/pull.ts';
import { Pulled, jobFor } from './pulled.ts';

/** Targets that hang, refuse, redirect, lie, or lead elsewhere: each ends with its reason, and nothing else is connected to. */

let folder: string;
let clip: string;
const cleanup: (() => unknown)[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pull-refused-'));
  ({ file: clip } = await makePullClip(folder));
});
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Pulls in this process. @returns why it ended */
async function failure(url: string, change: Partial<PullJob> = {}): Promise<AppError> {
  const job = jobFor(url, { timeoutMs: 500, ...change });
  const silent = { video: () => undefined, audio: () => undefined, report: () => undefined };
  const progress = { onPacket: () => undefined, onDamage: () => undefined };
  const error: unknown = await pull(job, new TargetPolicy({ allow: job.allow }), silent, progress).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof AppError)) throw new Error(`No AppError but ${String(error)}`);
  return error;
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
  });
  cleanup.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

const web = async (answer: (path: string, response: ServerResponse) => void): Promise<string> =>
  `http://127.0.0.1:${await listen(createHttpServer((request, response) => answer(request.url ?? '', response)))}`;

/** A place that must never be connected to. */
async function forbidden(): Promise<{ readonly port: number; readonly connections: () => number }> {
  let connections = 0;
  const port = await listen(createServer((socket) => void ((connections += 1), socket.destroy())));
  return { port, connections: () => connections };
}

describe('a file', () => {
  it.each([
    ['is not there', 'none.mp4', 'file.unreadable', 'cannot be read'],
    ['is no video', 'text.mp4', 'file.unreadable', 'cannot be read'],
    ['has no video', 'sound.wav', 'media.unsupported', 'no video'],
    ['has a codec that is not taken', 'snow.mkv', 'media.unsupported', 'snow'],
    ['has pictures that are too large', 'mpeg2.ts', 'media.unsupported', '256x144'],
    ['is a playlist of other files', 'list.m3u8', 'file.unreadable', 'cannot be read'],
    ['is too short for a loop', 'short.mp4', 'file.unreadable', 'cannot be looped'],
  ])('that %s ends with a reason', async (_what, name, code, message) => {
    const file = join(folder, name);
    if (name === 'text.mp4') await writeFile(file, 'no video\n'.repeat(1000));
    if (name === 'list.m3u8') await writeFile(file, `#EXTM3U\n#EXTINF:1,\nfile://${clip}\n`);
    if (name === 'sound.wav') await runFfmpeg('-f', 'lavfi', '-i', 'sine', '-t', '1', file);
    if (name === 'mpeg2.ts') await runFfmpeg('-i', clip, '-t', '1', '-c:v', 'mpeg2video', '-an', file);
    if (name === 'snow.mkv')
      await runFfmpeg('-i', clip, '-frames:v', '5', '-c:v', 'snow', '-strict', '-2', '-an', file);
    if (name === 'short.mp4') await runFfmpeg('-i', clip, '-frames:v', '2', '-c:v', 'libx264', '-an', file);
    const error = await failure(pathToFileURL(file).href, name === 'mpeg2.ts' ? { maxPixels: 1000 } : {});
    expect(error).toMatchObject({ code });
    expect(error.message).toContain(message);
  });
});

describe('every scheme', () => {
  const SCHEMES = ['rtsp', 'rtsps', 'rtmp', 'rtmps', 'http', 'https'];

  it.each([...SCHEMES, 'srt'])('%s: a private address is refused before anything is sent', async (scheme) => {
    const { port, connections } = await forbidden();
    const error = await failure(`${scheme}://127.0.0.1:${port}/live/cam`, { allow: [] });
    expect(error).toMatchObject({ code: 'target.refused' });
    expect(connections()).toBe(0);
  });

  it.each(SCHEMES)('%s: a port that nothing listens on', async (scheme) => {
    const server = createServer();
    const port = await listen(server);
    await new Promise((resolve) => server.close(resolve));
    const error = await failure(`${scheme}://127.0.0.1:${port}/live/cam`);
    expect(error).toMatchObject({ code: 'target.unreachable', retryable: true });
    expect(error.message).toContain('ECONNREFUSED');
  });

  it.each([...SCHEMES])('%s: a target that answers nonsense', async (scheme) => {
    const port = await listen(
      createServer((socket) => {
        socket.on('data', () => socket.end('nonsense\r\n\r\n'.repeat(2000)));
      }),
    );
    const error = await failure(`${scheme}://127.0.0.1:${port}/live/cam`);
    expect(['target.answer', 'target.unreachable']).toContain(error.code);
  });

  it('a target that takes the connection and says nothing is given up by the process, whatever hangs in it', async () => {
    const port = await listen(createServer());
    const all = ['rtsp', 'rtmp', 'http'].map(
      (scheme) => new Pulled(jobFor(`${scheme}://127.0.0.1:${port}/live/cam`, { timeoutMs: 500 })),
    );
    cleanup.push(() => Promise.all(all.map(({ process }) => process.close())));
    for (const pulled of all) {
      const { error } = await until(() => pulled.ended, 'the end');
      expect(['target.unreachable', 'target.answer']).toContain(error?.code);
    }
  });
});

describe('redirects', () => {
  it('RTSP: elsewhere is checked, and a loop ends', async () => {
    const server = await RtspServer.open();
    cleanup.push(() => server.close());
    const url = `rtsp://127.0.0.1:${server.port}/cam`;
    const allow = ['127.0.0.1'];
    server.faults.redirectTo = 'rtsp://127.0.0.2:554/cam';
    expect(await failure(url, { allow })).toMatchObject({ code: 'target.refused' });
    server.faults.redirectTo = 'http://127.0.0.1/';
    expect((await failure(url, { allow })).message).toContain('scheme');
    server.faults.redirectTo = url;
    expect((await failure(url, { allow })).message).toContain('redirects more than 5 times');
  });

  it('HTTP: elsewhere is checked, and a loop ends', async () => {
    const { port, connections } = await forbidden();
    const answers: Readonly<Record<string, string>> = {
      '/away': `http://127.0.0.2:${port}/`,
      '/file': 'file:///etc/passwd',
      '/loop': '/loop',
      '/none': 'http://',
    };
    const base = await web((path, response) => response.writeHead(302, { location: answers[path] }).end());
    for (const path of Object.keys(answers)) {
      const error = await failure(base + path, { allow: ['127.0.0.1'] });
      expect(error, path).toMatchObject({ code: 'target.refused' });
    }
    expect(connections()).toBe(0);
  });
});

describe('playlists', () => {
  it.each([
    ['file:///etc/passwd', 'scheme'],
    ['concat:/etc/passwd|/etc/group', 'scheme'],
    ['data:video/mp2t;base64,R0==', 'scheme'],
    ['crypto:http://127.0.0.1/', 'scheme'],
    ['http://127.0.0.2/segment.ts', 'private'],
    ['http://[::ffff:127.0.0.2]/segment.ts', 'private'],
  ])('a segment, a key, a map and a variant at %s are refused', async (address, reason) => {
    const media = (lines: string): string => `#EXTM3U\n#EXT-X-TARGETDURATION:1\n${lines}\n#EXT-X-ENDLIST\n`;
    const playlists: Readonly<Record<string, string>> = {
      '/segment': media(`#EXTINF:1,\n${address}`),
      '/key': media(`#EXT-X-KEY:METHOD=AES-128,URI="${address}"\n#EXTINF:1,\n/bytes`),
      '/map': media(`#EXT-X-MAP:URI="${address}"\n#EXTINF:1,\n/bytes`),
      '/variant': `#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n${address}\n`,
    };
    const base = await web((path, response) => response.end(playlists[path] ?? 'bytes'));
    for (const path of Object.keys(playlists)) {
      const error = await failure(base + path, { allow: ['127.0.0.1'] });
      expect(error, path).toMatchObject({ code: 'target.refused' });
      expect(error.message, path).toContain(reason);
    }
  });

  it('a segment that is a playlist itself is not opened as one', async () => {
    const { port, connections } = await forbidden();
    const nested = `#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:${port}/\n#EXT-X-ENDLIST\n`;
    const base = await web((path, response) =>
      response.end(
        path === '/a.m3u8' ? '#EXTM3U\n#EXTINF:1,\nb.ts\n#EXT-X-TARGETDURATION:1\n#EXT-X-ENDLIST\n' : nested,
      ),
    );
    expect(await failure(`${base}/a.m3u8`)).toMatchObject({ code: 'target.answer' });
    expect(connections()).toBe(0);
  });

  it('an endless playlist ends, and so does one of playlists of playlists', async () => {
    const endless = await web((_path, response) => {
      response.write('#EXTM3U\n');
      const more = (): void => {
        if (!response.destroyed) response.write('#EXTINF:1,\na.ts\n'.repeat(5000), more);
      };
      more();
    });
    expect((await failure(endless)).message).toContain('more than');
    const nested = await web((_path, response) => response.end('#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nagain\n'));
    expect((await failure(nested)).message).toContain('names another one');
  });

  it.each([404, 500, 204])('status %i', async (status) => {
    const base = await web((_path, response) => response.writeHead(status).end());
    expect((await failure(base)).message).toContain(`status ${status}`);
  });

  it('an answer that stops half-way', async () => {
    const base = await web((_path, response) => {
      response.writeHead(200, { 'content-length': 1000 }).write('#EXTM3U\n');
      setImmediate(() => response.destroy());
    });
    expect(await failure(base)).toMatchObject({ code: 'target.unreachable' });
  });
});

it('RTMP: tcUrl names the application that libavformat sends, under the name that was written', async () => {
  const server = await RtmpConnectServer.start();
  cleanup.push(() => server.close());
  for (const path of ['live/key', 'app/instance/key']) await failure(`rtmp://127.0.0.1:${server.port}/${path}`);
  const address = `rtmp://127.0.0.1:${server.port}`;
  expect(server.connects).toEqual([
    { app: 'live', tcUrl: `${address}/live` },
    { app: 'app/instance', tcUrl: `${address}/app/instance` },
  ]);
});

describe('the process', () => {
  const program = async (name: string, text: string): Promise<URL> => {
    const file = join(folder, name);
    await writeFile(file, text);
    return pathToFileURL(file);
  };
  const ended = async (name: string, text: string): Promise<AppError | undefined> => {
    const pulled = new Pulled(jobFor('rtsp://127.0.0.1/'), { program: await program(name, text) });
    cleanup.push(() => pulled.process.close());
    const { error } = await until(() => pulled.ended, 'the end');
    return error;
  };

  it('that crashes, sends nonsense or ends without a word is a loss with a reason', async () => {
    expect((await ended('abort.mjs', 'process.abort();'))?.message).toContain('SIGABRT');
    expect((await ended('exit.mjs', 'process.exit(3);'))?.message).toContain('exit code 3');
    const nonsense =
      "import { writeSync } from 'node:fs'; writeSync(3, Buffer.alloc(100, 255)); setInterval(() => {}, 1000);";
    expect((await ended('nonsense.mjs', nonsense))?.message).toContain('cannot be right');
  });

  it('gets no secrets of the server, and dies with it', async () => {
    process.env['FLASHVSR_TEST_SECRET'] = 'secret';
    cleanup.push(() => delete process.env['FLASHVSR_TEST_SECRET']);
    const text = "process.exit('FLASHVSR_TEST_SECRET' in process.env ? 1 : 2);";
    expect((await ended('secret.mjs', text))?.message).toContain('exit code 2');
    // Its standard input ends when the server does.
    const waits = "process.stdin.on('end', () => process.exit(4)).resume();";
    const pulled = new Pulled(jobFor('rtsp://127.0.0.1/'), { program: await program('waits.mjs', waits) });
    await pulled.process.close();
    expect(pulled.ended).toBeUndefined();
  });
});
