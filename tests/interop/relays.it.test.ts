import { chownSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isLoopbackHost } from '../../server/access/address.ts';
import { localAddresses } from '../../server/rtc/ice/candidates.ts';
import { readFilm, runFfmpeg } from '../../testing/film.ts';
import { Program, boundUdp, freePort, leftOut, listens, type ProgramOptions } from '../../testing/interop/program.ts';
import { likeness, picturesOf } from '../../testing/numbered-film.ts';
import { makeNumberedVideo, writeY4m, type NumberedVideo } from '../../testing/numbered-video.ts';
import { LEFT_HZ, RIGHT_HZ, readSound } from '../../testing/opus-tone.ts';
import { ServerProcess } from '../../testing/server-process.ts';
import { until } from '../../testing/until.ts';

/**
 * Relays and players of other projects (Debian's packages): a broadcast's result goes to each of them in numbered pictures and with a
 * tone in each ear, and what they give back or have shown is compared with what went in.
 */
const SAMPLE = fileURLToPath(new URL('../../testdata/clips/astronaut_320x180.mp4', import.meta.url));
const [WIDTH, HEIGHT, RATE] = [160, 90, 30] as const;
/** Twelve seconds, then again from the first. */
const PICTURES = 360;
const FIVE_SECONDS = 150;
const NGINX = '/usr/sbin/nginx';
const RTMP_MODULE = '/usr/lib/nginx/modules/ngx_rtmp_module.so';
const PYTHON = '/usr/bin/python3';
const GST_RTSP = 'import gi; gi.require_version("GstRtspServer", "1.0"); from gi.repository import GstRtspServer';
const WEBRTCBIN = `import gi; gi.require_version("GstWebRTC", "1.0"); from gi.repository import Gst; Gst.init(None)
assert all(map(Gst.ElementFactory.find, ["webrtcbin", "nicesrc", "opusenc", "rtph264pay", "interleave"]))`;
/** GStreamer's ICE (libnice) has no candidates on loopback. */
const ADDRESS = localAddresses(false).find((address) => !isLoopbackHost(address));
const without = {
  nginx: leftOut('nginx-rtmp', ['/bin/sh', '-c', `${NGINX} -v && test -e ${RTMP_MODULE}`]),
  srt: leftOut('srt-live-transmit', ['srt-live-transmit', '-version']),
  vlc: leftOut('vlc', ['/bin/sh', '-c', 'command -v cvlc']),
  gst: leftOut('GstRtspServer', [PYTHON, '-c', GST_RTSP]),
  webrtcbin: ADDRESS === undefined || leftOut('webrtcbin', [PYTHON, '-c', WEBRTCBIN]),
};
/** Debian's `nobody`: VLC refuses to run as root. */
const NOBODY = 65534;

let folder: string;
let clip: string;
let numbered: NumberedVideo;
const cleanup: (() => unknown)[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'relays-'));
  numbered = makeNumberedVideo(SAMPLE, WIDTH, HEIGHT, PICTURES, RATE);
  const raw = join(folder, 'numbered.y4m');
  writeY4m(numbered, raw);
  clip = join(folder, 'clip.mp4');
  const tones = `aevalsrc=0.4*sin(${LEFT_HZ}*2*PI*t)|0.4*sin(${RIGHT_HZ}*2*PI*t):s=48000:d=${PICTURES / RATE}`;
  const video = ['-pix_fmt', 'yuv420p', '-c:v', 'libx264', '-preset', 'veryfast', '-bf', '0', '-g', '30', '-crf', '16'];
  await runFfmpeg('-i', raw, '-f', 'lavfi', '-i', tones, ...video, '-c:a', 'aac', '-b:a', '128k', clip);
  rmSync(raw);
});
/** Of the programs and servers that a test, or the tests that share them, began: nothing of them runs beside the next. */
async function endAll(): Promise<void> {
  for (const end of cleanup.splice(0).reverse()) await end();
}
afterAll(async () => {
  await endAll();
  rmSync(folder, { recursive: true, force: true });
});

/** As a process: comparing pictures holds this one up. */
async function serve(
  sources: readonly object[],
  outputs: readonly object[],
  ...more: readonly string[]
): Promise<ServerProcess> {
  const again = { retrySeconds: 0.2, maxRetrySeconds: 0.5 };
  const server = await ServerProcess.start({
    args: [
      ...['--scale', '2', '--targets.allow', '["127.0.0.1"]', '--limits.maxBroadcasts', '3'],
      ...['--outputs', JSON.stringify(outputs)],
      ...['--sources', JSON.stringify(sources.map((source) => ({ ...again, ...source })))],
      ...more,
    ],
  });
  cleanup.push(() => server.kill());
  return server;
}

/** Pictures that an output has taken; 0 while it does not run. */
async function taken(server: ServerProcess, output: string): Promise<number> {
  const { outputs } = (await (await server.get('/debug/state')).json()) as {
    outputs: readonly { readonly name: string; readonly runs: readonly { state: string; frames: number }[] }[];
  };
  const run = outputs.find(({ name }) => name === output)?.runs[0];
  return run?.state === 'running' ? run.frames : 0;
}

/** An orderly end, which completes files and sessions. */
async function end(server: ServerProcess): Promise<void> {
  server.signal('SIGTERM');
  await server.exited;
}

function start(name: string, args: readonly string[], options?: ProgramOptions): Program {
  const program = new Program(name, args, options);
  cleanup.push(() => program.end());
  return program;
}

/**
 * Five seconds, in order, at the clip's pace, like it; a tone in each ear.
 * @param paceSeconds how much sooner or later than its number says a picture may be than the one before: more where times are those of
 * arrival
 */
async function verify(file: string, { scale = 2, leastDb = 27, paceSeconds = 0.016 } = {}): Promise<void> {
  const film = await readFilm(file);
  expect([film.width, film.height]).toEqual([scale * WIDTH, scale * HEIGHT]);
  const seen = picturesOf(film);
  expect(seen.length).toBeGreaterThan(FIVE_SECONDS);
  const steps = seen.slice(1).map(({ number, seconds }, index) => {
    const last = seen[index] as (typeof seen)[number];
    return { pictures: number - last.number, seconds: seconds - last.seconds };
  });
  const forward = steps.filter(({ pictures }) => pictures > 0);
  for (const { pictures, seconds } of forward) expect(Math.abs(pictures / RATE - seconds)).toBeLessThan(paceSeconds);
  // A busy machine leaves pictures out; backwards it goes only where the clip begins again.
  expect(steps.length - forward.length).toBeLessThanOrEqual(Math.ceil(seen.length / PICTURES));
  for (let at = 0; at < seen.length; at += 40) {
    expect(likeness(film, at, seen[at]?.number ?? 0, numbered)).toBeGreaterThan(leastDb);
  }
  const heard = readSound(file);
  expect(heard.level('left', LEFT_HZ)).toBeGreaterThan(0.2);
  expect(heard.level('right', RIGHT_HZ)).toBeGreaterThan(0.2);
  expect(heard.level('left', RIGHT_HZ)).toBeLessThan(0.05);
}

/** One broadcast goes to all of them at once. */
describe('of one broadcast', () => {
  let server: ServerProcess;
  let nginx: Program | undefined;
  let srt: Program | undefined;

  beforeAll(async () => {
    const sources: object[] = [{ name: 'stage', url: pathToFileURL(clip).href }];
    const outputs: object[] = [];
    /** Out by `type`, back as another broadcast, which is written to a file untouched. */
    const there = (type: string, push: string, pull: string): void => {
      sources.push({ name: type, url: pull });
      outputs.push(
        { name: type, broadcast: 'stage', type, url: push },
        { name: `${type}-back`, broadcast: type, type: 'recording', track: 'source', folder: join(folder, type) },
      );
    };
    if (!without.nginx) {
      const port = await freePort();
      const config = join(folder, 'nginx.conf');
      writeFileSync(
        config,
        `daemon off; master_process off; pid ${join(folder, 'nginx.pid')}; error_log stderr warn;
         load_module ${RTMP_MODULE}; events {}
         rtmp { server { listen 127.0.0.1:${port}; application live { live on; } } }`,
      );
      nginx = start(NGINX, ['-e', 'stderr', '-c', config]);
      await nginx.until(() => listens(port), 'its port');
      there('rtmp', `rtmp://127.0.0.1:${port}/live/stage`, `rtmp://127.0.0.1:${port}/live/stage`);
    }
    if (!without.srt) {
      const [into, from] = [await freePort(), await freePort()];
      srt = start(
        'srt-live-transmit',
        [into, from].map((port) => `srt://127.0.0.1:${port}?mode=listener`),
      );
      await srt.until(() => boundUdp(into), 'its port');
      there('srt', `srt://127.0.0.1:${into}`, `srt://127.0.0.1:${from}`);
    }
    if (!without.vlc) {
      outputs.push({ name: 'hls', broadcast: 'stage', type: 'hls', folder: join(folder, 'hls'), segmentSeconds: 3 });
    }
    server = await serve(sources, outputs);
  });
  afterAll(endAll);

  /** The file is read while it is written: it plays up to its last half second. */
  async function giveBack(program: Program | undefined, type: string): Promise<void> {
    await program?.until(async () => (await taken(server, `${type}-back`)) > FIVE_SECONDS + 2 * RATE, 'seven seconds');
    // Where the way was lost on a busy machine there is a file of before; names have their time.
    const file = readdirSync(join(folder, type)).sort().at(-1) ?? '';
    await verify(join(folder, type, file));
  }

  it.skipIf(without.nginx)('nginx with its RTMP module takes it and gives it back', () => giveBack(nginx, 'rtmp'));

  it.skipIf(without.srt)('srt-live-transmit takes it and gives it back', () => giveBack(srt, 'srt'));

  it.skipIf(without.vlc)('VLC plays it by HLS', async () => {
    // With its first segment: VLC does not come back for a playlist that is not there.
    await until(async () => (await server.get('/hls/hls/stage/index.m3u8')).ok, 'the playlist');
    await verify(await vlc(`${server.url}/hls/hls/stage/index.m3u8`), { leastDb: 25, paceSeconds: 0.5 });
  });

  /** What VLC decodes, encoded again, until five seconds of it are there. */
  async function vlc(url: string): Promise<string> {
    const home = mkdtempSync(join(tmpdir(), 'vlc-'));
    cleanup.push(() => rmSync(home, { recursive: true, force: true }));
    const uid = process.getuid?.() === 0 ? NOBODY : undefined;
    if (uid !== undefined) chownSync(home, uid, uid);
    const file = join(home, 'played.ts');
    const encode = '#transcode{vcodec=mp4v,vb=4000,acodec=mpga,ab=192}';
    const player = start(
      'cvlc',
      ['-I', 'dummy', '--no-dbus', '--sout', `${encode}:std{access=file,mux=ts,dst=${file}}`, url],
      { env: { HOME: home }, ...(uid === undefined ? {} : { uid }) },
    );
    // What it has written so far may end within a picture.
    const pictures = () =>
      readFilm(file).then(
        ({ times }) => times.length,
        () => 0,
      );
    await player.until(async () => (await pictures()) > FIVE_SECONDS + RATE, 'five seconds');
    await player.end('SIGTERM');
    return file;
  }
});

it.skipIf(without.gst)('GstRtspServer plays a film to us, and records the result of it', async () => {
  const recording = join(folder, 'gst.mkv');
  const gst = start(PYTHON, [scriptOf('gst_rtsp_server'), clip, recording, String(2 * WIDTH), String(2 * HEIGHT)]);
  const port = await gst.until(() => /port (\d+)/.exec(gst.log)?.[1], 'its port');
  const server = await serve(
    [{ name: 'film', url: `rtsp://127.0.0.1:${port}/play` }],
    [{ name: 'relay', broadcast: 'film', type: 'rtsp', url: `rtsp://127.0.0.1:${port}/record` }],
  );
  await gst.until(async () => (await taken(server, 'relay')) > FIVE_SECONDS + RATE, 'six seconds');
  await end(server);
  await until(() => gst.log.includes('recorded'), 'its end of the recording');
  await verify(recording, { paceSeconds: 1 });
});

it.skipIf(without.webrtcbin)('GStreamer’s webrtcbin publishes by WHIP', async () => {
  const target = mkdtempSync(join(folder, 'whip-'));
  const archive = { name: 'archive', broadcast: 'gst', type: 'recording', track: 'source', folder: target };
  const server = await serve([], [archive], '--ice.interfaceAddresses', JSON.stringify([ADDRESS]));
  const publisher = start(PYTHON, [scriptOf('gst_whip'), `${server.url}/whip/gst`, clip, 'secret-of-gstreamer']);
  await publisher.ended();
  expect(publisher.log).toContain('deleted 200');
  await end(server);
  await verify(join(target, readdirSync(target)[0] ?? ''), { scale: 1 });
});

function scriptOf(name: string): string {
  return fileURLToPath(new URL(`../../testing/interop/${name}.py`, import.meta.url));
}
