import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Decoder } from '../../server/codec/decoder.ts';
import { makeObsRecording, ObsPlayback, type ObsRecording } from '../../testing/obs-recording.ts';
import { readNumber } from '../../testing/numbered-video.ts';
import { offerText } from '../../testing/offers.ts';
import { NodeViewer, type NodeViewerOptions, type ViewedFrame } from '../../testing/peers/node-viewer.ts';
import { ObsPeer } from '../../testing/peers/obs.ts';
import { ServerProcess } from '../../testing/server-process.ts';
import { WhipClient } from '../../testing/whip-client.ts';
import { WhipServer } from '../../testing/whip-server.ts';

/**
 * OBS's double through the whole server: libdatachannel with OBS's offer, no candidates, deaf to PLI. Real OBS is run by hand
 * (docs/publish-and-watch.md).
 */
const PICTURES = 165;
/** What the relay MediaMTX waits for (two seconds) in packets of sound and in pictures. */
const TWO_SECONDS = { packets: 100, pictures: 60 };

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of cleanup.splice(0).reverse()) await close();
});

async function connect(url: string, bearer = 'secret-of-obs') {
  const peer = new ObsPeer();
  cleanup.push(() => peer.close());
  const made: { client?: WhipClient; offer: string } = { offer: '' };
  await peer.start(async (offer) => {
    made.offer = offer;
    made.client = await WhipClient.post(url, offer, bearer);
    return made.client.answer;
  });
  return { peer, ...made };
}

describe('OBS’s double', () => {
  let server: WhipServer;
  let recording: ObsRecording;

  beforeAll(async () => {
    [server, recording] = await Promise.all([WhipServer.start(), makeObsRecording(PICTURES)]);
  });
  afterAll(() => server.close());

  async function watch(name: string, options: NodeViewerOptions) {
    const viewer = new NodeViewer(options);
    cleanup.push(() => viewer.stop());
    await viewer.start(async (offer) => (await WhipClient.post(`${server.url}/whep/${name}?wait=1`, offer)).answer);
    return viewer;
  }

  it('sends the offer that OBS sends', async () => {
    const { offer } = await connect(`${server.url}/whip/offer`);
    const lines = (sdp: string) => {
      const constant = sdp
        .replace(/^(m=\w+) \d+/gm, '$1')
        .replace(/^(o=|a=ssrc|a=msid|a=fingerprint|a=ice-ufrag|a=ice-pwd).*$/gm, '$1');
      return constant
        .split('\r\n')
        .filter((line) => !line.startsWith('a=extmap'))
        .sort();
    };
    expect(lines(offer)).toEqual(lines(offerText('whip-obs32.2.2')));
  });

  it('five seconds with one keyframe arrive: every picture at its time, in order, in stereo', async () => {
    const heard: Buffer[] = [];
    const viewer = await watch('studio', { audio: true, onAudioPacket: (_s, _t, _at, data) => void heard.push(data) });
    const { peer } = await connect(`${server.url}/whip/studio`);
    const playback = new ObsPlayback(peer, recording);
    cleanup.push(() => playback.stop());
    await playback.done;
    await expect.poll(() => server.pictures(), { timeout: 20_000 }).toBe(PICTURES);
    expect(server.app.registry.get('studio')?.stats?.source).toMatchObject({ width: 160, height: 90, codec: 'H264' });
    await expect.poll(() => viewer.frames.length, { timeout: 20_000 }).toBeGreaterThan(20);

    // A machine that is too slow for the camera leaves pictures out; none comes late or at a wrong time.
    const seen = decoded(viewer.frames);
    const [first] = seen;
    if (first === undefined) throw new Error('nothing was decoded');
    // Thirty pictures a second: the time of each is its number's, and no earlier one follows.
    const times = seen.map(({ number, timestamp }) => timestamp - first.timestamp - (number - first.number) * 3000);
    expect(Math.max(...times.map(Math.abs))).toBeLessThanOrEqual(1);
    expect(seen.every(({ number }, at) => at === 0 || number > (seen[at - 1]?.number ?? 0))).toBe(true);
    for (const { number, luma } of seen.filter((_, at) => at % 20 === 0)) {
      expect(psnr(luma, recording.video.frames[number] as Uint8Array)).toBeGreaterThan(30);
    }

    const sent = new Set(recording.opus.map((packet) => packet.toString('latin1')));
    expect(heard.length).toBeGreaterThan(recording.opus.length / 2);
    expect(heard.filter((packet) => !sent.has(packet.toString('latin1')))).toEqual([]);
    // RFC 6716 section 3.1: the bit s of every packet.
    expect(heard.every(([toc = 0]) => (toc & 0x04) !== 0)).toBe(true);
  });

  it('a player that comes between two of its keyframes has sound and picture within two seconds of the source', async () => {
    const { peer } = await connect(`${server.url}/whip/joined`);
    const playback = new ObsPlayback(peer, recording);
    cleanup.push(() => playback.stop());
    await expect.poll(() => server.app.registry.get('joined')?.state, { timeout: 20_000 }).toBe('live');
    const first: { sound?: number; picture?: number } = {};
    await watch('joined', {
      audio: true,
      onAudioPacket: () => (first.sound ??= playback.packets),
      onResultPacket: () => (first.picture ??= playback.pictures),
    });
    const connected = { sound: playback.packets, picture: playback.pictures };
    await expect
      .poll(() => first, { timeout: 20_000 })
      .toMatchObject({
        sound: expect.any(Number) as number,
        picture: expect.any(Number) as number,
      });
    expect((first.sound ?? Infinity) - connected.sound).toBeLessThan(TWO_SECONDS.packets);
    expect((first.picture ?? Infinity) - connected.picture).toBeLessThan(TWO_SECONDS.pictures);
  });
});

describe('close_notify, by which OBS comes back at once, reaches it', () => {
  const THROWS = 'data:text/javascript,process.on("SIGUSR2",()=>{throw new Error("thrown by the test")})';

  it.each([
    ['when the server stops', 'SIGTERM', 0],
    ['when an exception ends the server', 'SIGUSR2', 70],
  ] as const)('%s', async (_when, signal, code) => {
    const server = await ServerProcess.start({ nodeArgs: ['--import', THROWS], args: ['--drainSeconds', '0'] });
    cleanup.push(() => server.kill());
    const { peer } = await connect(`${server.url}/whip/ends`);
    server.signal(signal);
    // Without close_notify libdatachannel would find out by ICE, and say `disconnected` or `failed`.
    await expect.poll(() => peer.state, { timeout: 20_000 }).toBe('closed');
    expect(await server.exited).toEqual({ code, signal: null });
  });

  it('when another publisher of its address needs its place', async () => {
    const server = await WhipServer.start(['--limits.maxBroadcastsPerAddress', '1']);
    cleanup.push(() => server.close());
    const { peer } = await connect(`${server.url}/whip/first`);
    await connect(`${server.url}/whip/second`, 'another-secret');
    await expect.poll(() => peer.state, { timeout: 20_000 }).toBe('closed');
  });
});

interface Seen {
  readonly number: number;
  readonly timestamp: number;
  /** Of 160x90: each four by four pixels of the result are one. */
  readonly luma: Uint8Array;
}

function decoded(frames: readonly ViewedFrame[]): Seen[] {
  const decoder = new Decoder({ codec: 'H264', maxPixels: 640 * 360 });
  try {
    return frames.flatMap(({ data, keyframe, timestamp }) =>
      decoder
        .decode({ codec: 'H264', data, keyframe, mediaTime: timestamp, receivedAtUs: 0, assembledAtUs: 0 })
        .map((picture) => {
          const { y, yStride, width, height } = picture;
          const luma = new Uint8Array((width * height) / 16);
          for (let row = 0; row < height / 4; row += 1) {
            for (let column = 0; column < width / 4; column += 1) {
              let sum = 0;
              for (let at = 0; at < 16; at += 1) sum += y[(4 * row + (at >> 2)) * yStride + 4 * column + (at & 3)] ?? 0;
              luma[(row * width) / 4 + column] = sum / 16 + 0.5;
            }
          }
          picture.release();
          const [across, down] = [width / 4, height / 4];
          const number = readNumber((x, v) => luma[Math.floor(v * down) * across + Math.floor(x * across)] ?? 0);
          return { number, timestamp: picture.mediaTime, luma };
        }),
    );
  } finally {
    decoder.close();
  }
}

function psnr(luma: Uint8Array, source: Uint8Array): number {
  const error = luma.reduce((sum, value, at) => sum + (value - (source[at] ?? 0)) ** 2, 0) / luma.length;
  return 10 * Math.log10(255 ** 2 / error);
}
