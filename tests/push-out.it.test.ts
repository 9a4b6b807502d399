import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Decoder } from '../server/codec/decoder.ts';
import type { OutputConfig } from '../server/config/config.ts';
import { splitAnnexB } from '../server/media/h264.ts';
import type { AccessUnit } from '../server/media/types.ts';
import { PeerStack } from '../server/rtc/peer-stack.ts';
import type { ForwardPacket, PublisherPeer } from '../server/rtc/peers.ts';
import type { Clip } from '../testing/clip.ts';
import { NodePublisher } from '../testing/peers/node-publisher.ts';
import { NodeViewer } from '../testing/peers/node-viewer.ts';
import { makeStream, movingBar } from '../testing/pictures.ts';
import { RelayDouble } from '../testing/relay-double.ts';
import { testRtcOptions } from '../testing/rtc-options.ts';
import { until } from '../testing/until.ts';
import { WhipClient } from '../testing/whip-client.ts';
import { WhipServer } from '../testing/whip-server.ts';

/** WHIP push-out of the whole server: into a second server of ours, and into a strict relay that fails in several ways. */

const [WIDTH, HEIGHT] = [320, 180];
/** movingBar() moves by six pixels a picture: in so many no two have it in one place. */
const PICTURES = 50;
/** A publisher that is asked for a keyframe goes on from one of these. */
const KEYFRAMES = [0, 25];
const TICKS = 3000;

let near: WhipServer;
let clip: Clip;
const cleanup: (() => unknown)[] = [];

beforeAll(async () => {
  const stream = { codec: 'H264', width: WIDTH, height: HEIGHT, bitrateBps: 1_500_000 } as const;
  clip = {
    codec: 'H264',
    framesPerSecond: 30,
    frames: makeStream({ ...stream, frames: PICTURES, keyframes: KEYFRAMES }).map(({ data, keyframe }) => ({
      data: Buffer.from(data),
      keyframe,
    })),
  };
  near = await WhipServer.start(['--targets.allow', '["127.0.0.1/32"]', '--scale', '2']);
});
afterEach(async () => {
  for (const close of cleanup.splice(0).reverse()) await close();
});
afterAll(() => near.close());

async function publish(name: string): Promise<NodePublisher> {
  const publisher = new NodePublisher({ clip, audio: true });
  cleanup.push(() => publisher.stop());
  await publisher.start(async (offer) => {
    const client = await WhipClient.post(`${near.url}/whip/${name}`, offer);
    cleanup.push(() => client.delete());
    return client.answer;
  });
  await until(() => near.app.registry.get(name)?.state === 'live', 'the first picture');
  return publisher;
}

/** An output of the broadcast of the same name, unless it says another. */
function push(
  name: string,
  url: string,
  more: { bearer?: string; track?: 'result' | 'source'; broadcast?: string } = {},
): void {
  const output: OutputConfig = { name, broadcast: name, type: 'whip', track: 'result', enabled: true, url, ...more };
  near.app.outputs.start(output);
  cleanup.push(() => near.app.outputs.stop(name));
}

const run = (name: string) => near.app.outputs.list().find((output) => output.name === name)?.runs[0];

describe('into a strict relay', () => {
  let stack: PeerStack;
  let relay: RelayDouble;
  let taker: PublisherPeer | undefined;
  let units: AccessUnit[];
  let sound: ForwardPacket[];

  beforeEach(async () => {
    stack = new PeerStack(testRtcOptions());
    [units, sound] = [[], []];
    relay = await RelayDouble.start({
      bearer: 'far-secret',
      take: (offer) => {
        taker = stack.createPublisher({
          onState: () => undefined,
          onAccessUnit: (unit) => units.push(unit),
          onVideoPacket: () => undefined,
          onAudioPacket: (packet) => sound.push(packet),
          onDrop: () => undefined,
        });
        return taker.accept(offer);
      },
    });
    // After the output, which leaves it by DELETE.
    cleanup.push(
      () => stack.close(),
      () => relay.close(),
    );
  });

  it('five seconds of the result arrive whole and in order, each picture what was published, with stereo sound', async () => {
    const publisher = await publish('stage');
    push('stage', relay.url, { bearer: 'far-secret' });
    await until(() => units.length >= 150 && sound.length >= 200, 'five seconds');
    expect(run('stage')).toMatchObject({ state: 'running', failures: 0, dropped: 0 });
    taker?.requestKeyframe();
    const before = units.length;
    await until(() => units.slice(before).some(({ keyframe }) => keyframe), 'the keyframe that was asked for');
    publisher.pause(true);
    await until(() => units.length === run('stage')?.frames, 'every picture that left');

    expect(units[0]?.keyframe).toBe(true);
    expect(relay.requests[0]?.body).toContain('stereo=1;sprop-stereo=1');
    const decoder = new Decoder({ codec: 'H264', maxPixels: 1e6 });
    cleanup.push(() => decoder.close());
    const seen = units.map((unit) => {
      const [picture] = decoder.decode(unit);
      if (picture === undefined) throw new Error(`the picture at ${unit.mediaTime} was not decoded`);
      const number = numberOf(picture);
      const dB = psnr(picture, number);
      picture.release();
      return { number, dB, mediaTime: unit.mediaTime, size: `${picture.width}x${picture.height}` };
    });
    expect(new Set(seen.map(({ size }) => size))).toEqual(new Set(['640x360']));
    expect(Math.min(...seen.map(({ dB }) => dB))).toBeGreaterThan(25);
    seen.slice(1).forEach(({ number, mediaTime }, index) => {
      const last = seen[index] as (typeof seen)[number];
      const steps = (mediaTime - last.mediaTime) / TICKS;
      expect(steps, 'order').toBeGreaterThan(0);
      // A picture that a busy machine has left out takes its time with it.
      if (!KEYFRAMES.includes(number)) expect(number).toBe((last.number + steps) % PICTURES);
    });
    expect(sound.every(({ timestamp }, index) => timestamp - (sound[0]?.timestamp ?? 0) === index * 960)).toBe(true);
  });

  it('comes again when it says, and after its session is killed; while it hangs, viewers miss nothing', async () => {
    relay.script = (_request, number) => (number === 0 ? { status: 503, headers: { 'retry-after': '1' } } : undefined);
    await publish('again');
    push('again', relay.url, { bearer: 'far-secret', track: 'source' });
    await until(() => run('again')?.failures === 1, 'the refusal');
    expect(run('again')).toMatchObject({ state: 'failed', error: { code: 'target.busy' } });
    expect(run('again')?.retryInMs).toBeGreaterThan(0);
    await until(() => units.length > 30, 'pictures after all');
    // Untouched: pictures of the clip, byte for byte.
    const known = new Set(clip.frames.map(({ data }) => nalUnits(data)));
    expect(units.filter(({ data }) => !known.has(nalUnits(data))).length).toBe(0);
    expect(run('again')).toMatchObject({ state: 'running', failures: 1 });

    const viewer = new NodeViewer();
    cleanup.push(() => viewer.stop());
    await viewer.start(async (offer) => (await WhipClient.post(`${near.url}/whep/again`, offer)).answer);
    await viewer.waitForFrames(1);
    relay.script = ({ method }) => (method === 'POST' ? 'hang' : undefined);
    const posts = () => relay.requests.filter(({ method }) => method === 'POST').length;
    const before = posts();
    await taker?.close();
    // By close_notify; the old session is not left behind.
    await until(() => posts() > before, 'the POST that hangs');
    await until(() => relay.sessions.size === 0, 'the DELETE');
    expect(run('again')).toMatchObject({ state: 'connecting', failures: 2 });
    await viewer.waitForFrames(viewer.getStats().frames + 30);
    expect(near.app.registry.get('again')?.state).toBe('live');
    const text = await near.app.metrics.text();
    expect(text).toMatch(/flashvsr_output\S*\{[^}]*output="again"[^}]*state="connecting"[^}]*\} 1/);
  });
});

it('into a second server: a broadcast like any other there, and its name is free when the output stops', async () => {
  const far = await WhipServer.start();
  cleanup.push(() => far.close());
  await publish('near');
  push('near', `${far.url}/whip/away/{broadcast}`, { bearer: 'far-secret', broadcast: '*' });
  const stats = () => far.stats('away/near');
  await until(() => stats()?.source.width === 640 && stats()?.audio.present === true, 'its pictures and its sound');
  expect(stats()).toMatchObject({ source: { height: 360, codec: 'H264' } });
  expect(JSON.stringify([near.app.registry, near.app.outputs])).not.toMatch(/far-secret|away\/near/);
  await near.app.outputs.stop('near');
  expect(far.app.registry.get('away/near')).toBeUndefined();
  expect(near.app.registry.get('near')?.state).toBe('live');
});

/** Without start codes, which are three or four bytes. */
function nalUnits(data: Uint8Array): string {
  return [...splitAnnexB(data)].map((nal) => Buffer.from(nal).toString('base64')).join();
}

interface Luma {
  readonly y: Uint8Array;
  readonly yStride: number;
  readonly width: number;
  readonly height: number;
}

/** Which picture of the clip one row is likest to. */
function numberOf({ y, yStride, width }: Luma): number {
  const error = (number: number): number => {
    const paint = movingBar(number, WIDTH);
    let sum = 0;
    for (let x = 0; x < width; x += 1) sum += Math.abs((y[60 * yStride + x] ?? 0) - paint(x / 2, 30));
    return sum;
  };
  const errors = Array.from({ length: PICTURES }, (_, number) => error(number));
  return errors.indexOf(Math.min(...errors));
}

/** Luma against the clip's picture of that number, at twice its size, dB. */
function psnr({ y, yStride, width, height }: Luma, number: number): number {
  const paint = movingBar(number, WIDTH);
  let sum = 0;
  for (let row = 0; row < height; row += 1) {
    for (let column = 0; column < width; column += 1) {
      sum += ((y[row * yStride + column] ?? 0) - paint(column / 2, row / 2)) ** 2;
    }
  }
  return 10 * Math.log10((255 ** 2 * width * height) / sum);
}
