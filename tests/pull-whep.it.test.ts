import { afterEach, beforeAll, expect, it } from 'vitest';
import { splitAnnexB } from '../server/media/h264.ts';
import type { ForwardPacket } from '../server/rtc/peers.ts';
import type { Clip } from '../testing/clip.ts';
import { NodePublisher } from '../testing/peers/node-publisher.ts';
import { NodeViewer } from '../testing/peers/node-viewer.ts';
import { makeStream } from '../testing/pictures.ts';
import { RelayDouble } from '../testing/relay-double.ts';
import { until } from '../testing/until.ts';
import { WhipClient } from '../testing/whip-client.ts';
import { WhipServer } from '../testing/whip-server.ts';

/** A server that pulls from another one of ours by WHEP. */

const PICTURES = 50;
const KEYFRAMES = 25;
let clip: Clip;
const cleanup: (() => unknown)[] = [];

beforeAll(() => {
  const stream = { codec: 'H264', width: 320, height: 180, bitrateBps: 1_500_000, keyframes: [KEYFRAMES] } as const;
  const frames = makeStream({ ...stream, frames: PICTURES });
  clip = {
    ...{ codec: 'H264', framesPerSecond: 30 },
    frames: frames.map(({ data, keyframe }) => ({ data: Buffer.from(data), keyframe })),
  };
});
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
});

async function server(argv: readonly string[] = []): Promise<WhipServer> {
  const started = await WhipServer.start(['--scale', '2', ...argv]);
  cleanup.push(() => started.close());
  return started;
}

async function publish(to: WhipServer): Promise<NodePublisher> {
  const publisher = new NodePublisher({ clip, audio: true });
  cleanup.push(() => publisher.stop());
  await publisher.start(async (offer) => (await WhipClient.post(`${to.url}/whip/stage`, offer, 'mine')).answer);
  await until(() => to.app.registry.get('stage')?.state === 'live', 'the first picture');
  return publisher;
}

function puller(url: string): Promise<WhipServer> {
  const source = { name: 'copy', type: 'whep', url, bearer: 'far-secret', retrySeconds: 0.1, maxRetrySeconds: 0.2 };
  return server(['--sources', JSON.stringify([source]), '--targets.allow', '["127.0.0.1/32"]']);
}

const source = ({ app }: WhipServer) => app.sources.list()[0];

it('the original comes untouched, every picture in order, with its sound; the far session ends with the source', async () => {
  const far = await server();
  const publisher = await publish(far);
  const near = await puller(`${far.url}/whep/stage?track=source`);
  const seen: number[] = [];
  const sound: ForwardPacket[] = [];
  await until(() => near.app.registry.get('copy')?.state === 'live', 'the first picture');
  // By their bytes: makeStream() codes no two pictures alike.
  const numbers = new Map(clip.frames.map(({ data }, number) => [nalUnits(data), number]));
  near.app.registry.get('copy')?.subscribe(() => ({
    ...{ id: 'probe', kind: 'recorder', state: { kind: 'connecting' }, bitrateBps: 0, codec: 'H264', renditions: [] },
    ...{ wantsSource: false, report: () => undefined, want: () => false, restart: () => undefined },
    ...{ onResult: () => undefined, onSource: () => undefined, onState: () => undefined, onStats: () => undefined },
    onSourceUnit: ({ data }) => seen.push(numbers.get(nalUnits(data)) ?? -1),
    onAudio: (packet) => sound.push(packet),
    close: () => Promise.resolve(),
  }));
  const viewer = new NodeViewer({ codecs: ['H264'] });
  cleanup.push(() => viewer.stop());
  await viewer.start(async (offer) => (await WhipClient.post(`${near.url}/whep/copy`, offer)).answer);
  await viewer.waitForFrames(30);
  await until(() => seen.length >= 90, 'three seconds');
  expect(source(near)).toMatchObject({ state: 'delivering', connections: 1, stats: { codec: 'H264', hasAudio: true } });
  publisher.pause(true);
  expect(seen).not.toContain(-1);
  // Forwards between two keyframes, whatever a busy machine has lost. Where a keyframe was asked for, the publisher goes on from one of
  // them, and that one may be lost, too.
  const backwards = seen.slice(1).filter((number, index) => {
    const last = seen[index] ?? 0;
    const together = Math.floor(number / KEYFRAMES) === Math.floor(last / KEYFRAMES);
    return together && number <= last && number % KEYFRAMES !== 0;
  });
  expect(backwards).toEqual([]);
  await until(() => near.stats('copy')?.output.width === 640, 'statistics');
  expect(near.stats('copy')).toMatchObject({ source: { width: 320, height: 180 }, audio: { present: true } });
  expect(sound.length).toBeGreaterThan(30);
  expect(JSON.stringify([near.app.registry, near.app.sources])).not.toMatch(/far-secret|whep\/stage/);

  expect(far.app.registry.get('stage')?.viewerCount).toBe(1);
  await near.app.sources.stop('copy');
  expect(far.app.registry.get('stage')?.viewerCount).toBe(0);
  expect(near.app.registry.get('copy')?.owned).toBe(false);
});

it('the result comes by a redirect; a server that is not live yet, stops and comes back elsewhere is asked again', async () => {
  const balancer = await RelayDouble.start();
  cleanup.push(() => balancer.close());
  const lead = ({ url }: WhipServer) => {
    balancer.script = () => ({ status: 307, headers: { location: `${url}/whep/stage` } });
  };
  const first = await server();
  lead(first);
  const near = await puller(balancer.url);
  // It names a time, longer than the settings.
  await until(() => (source(near)?.retryInMs ?? 0) > 300, 'the refusal');
  expect(source(near)).toMatchObject({ state: 'waiting', lastError: { code: 'target.rejected' } });
  await publish(first);
  await until(() => near.stats('copy')?.source.width === 640, 'the upscaled pictures');
  await first.close();
  // By close_notify: silence is noticed later.
  await until(() => source(near)?.state !== 'delivering', 'the loss');
  const second = await server();
  await publish(second);
  lead(second);
  await until(() => source(near)?.state === 'delivering', 'the return');
  await until(() => near.app.registry.get('copy')?.state === 'live', 'pictures again');
  expect(source(near)?.connections).toBe(2);
  // A redirect to another origin does not get it.
  expect(balancer.requests.every(({ headers }) => headers.authorization === 'Bearer far-secret')).toBe(true);
});

/** Without start codes, which are three or four bytes. */
function nalUnits(data: Uint8Array): string {
  return [...splitAnnexB(data)].map((nal) => Buffer.from(nal).toString('base64')).join();
}
