import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { TargetPolicy } from '../../access/target-policy.ts';
import { BroadcastRegistry } from '../../broadcast/broadcast-registry.ts';
import { broadcastSettings } from '../../broadcast/settings.ts';
import { loadConfig } from '../../config/config.ts';
import type { SourceConfig } from '../../config/sections/sources.ts';
import { AppError } from '../../errors.ts';
import { createLog } from '../../log.ts';
import { Metrics } from '../../metrics.ts';
import type { PullListener } from '../pull-process.ts';
import { SourceService } from '../source-service.ts';

/** Connecting, losing and coming back, with the process and time faked. */

const config = loadConfig({ argv: ['--log-level', 'silent'] });
const FAILURE = new AppError('target.unreachable', 'gone');
const CAM: SourceConfig = {
  ...{ name: 'cam', url: 'rtsp://user:secret@host.example:8554/live?key=secret', transport: 'tcp' },
  ...{ timeoutSeconds: 10, retrySeconds: 1, maxRetrySeconds: 8 },
};
const OPENED = { type: 'opened', hasAudio: true, notices: [] } as const;

let registry: BroadcastRegistry;
let metrics: Metrics;
let service: SourceService;
let pullers: { listener: PullListener; closed: number }[];

beforeEach(() => {
  vi.useFakeTimers({ now: 0 });
  // The middle of what waits are spread by.
  vi.spyOn(Math, 'random').mockReturnValue(0.5);
  pullers = [];
  const log = createLog(config.log);
  metrics = new Metrics();
  const nowUs = () => Date.now() * 1000;
  registry = new BroadcastRegistry({
    ...{ settings: broadcastSettings(config), limits: config.limits, log, metrics, nowUs, capacity: 4 },
    model: { kind: 'resize', label: 'resize', superResolution: false, scale: 2, device: 'cpu' },
    onEngineFailed: () => undefined,
    createPipeline: () => ({
      ...{ push: () => undefined, setEncoders: () => undefined, configure: () => undefined },
      ...{ requestKeyframe: () => undefined, reset: () => undefined, close: () => Promise.resolve() },
    }),
  });
  service = new SourceService({
    ...{ registry, allow: [], maxPixels: 1e6, log, metrics, nowUs, interfaceAddresses: [] },
    policy: new TargetPolicy({ allow: [] }),
    rtc: {
      createPulled: () => {
        throw new Error('No source of this test is WHEP.');
      },
    },
    createPuller: (_job, listener) => {
      const puller = { listener, closed: 0 };
      pullers.push(puller);
      return { close: () => Promise.resolve(void (puller.closed += 1)) };
    },
  });
});
afterEach(async () => {
  await service.close();
  await registry.close();
  vi.restoreAllMocks();
  vi.useRealTimers();
});

const source = () => service.list()[0];
const newest = (): PullListener => {
  const puller = pullers.at(-1);
  if (puller === undefined) throw new Error('Nothing is pulled.');
  return puller.listener;
};
const picture = (timestamp: number) =>
  newest().onVideo({ kind: 'video', codec: 'VP8', keyframe: true, timestamp, data: Buffer.alloc(50) });

it('waits longer with every failure in a row, and begins again after a connection that held', async () => {
  service.start(CAM);
  const waits: number[] = [];
  for (let failure = 0; failure < 6; failure += 1) {
    newest().onEnded(FAILURE);
    await vi.advanceTimersByTimeAsync(0);
    const wait = source()?.retryInMs ?? 0;
    waits.push(wait);
    expect(source()).toMatchObject({ state: 'waiting', lastError: { code: 'target.unreachable' } });
    await vi.advanceTimersByTimeAsync(wait - 1);
    expect(pullers).toHaveLength(failure + 1);
    await vi.advanceTimersByTimeAsync(1);
    expect(pullers).toHaveLength(failure + 2);
  }
  expect(waits).toEqual([1000, 2000, 4000, 8000, 8000, 8000]);
  newest().onOpened(OPENED);
  await vi.advanceTimersByTimeAsync(9000);
  picture(0);
  await vi.advanceTimersByTimeAsync(2000);
  newest().onEnded(undefined);
  await vi.advanceTimersByTimeAsync(0);
  expect(source()).toMatchObject({ retryInMs: 1000, failuresInARow: 1, connections: 1 });
  expect(pullers.every(({ closed }, index) => closed > 0 || index === pullers.length - 1)).toBe(true);
});

it('waits longer also for a target that takes the connection and sends nothing until its time-out', async () => {
  service.start(CAM);
  const waits: number[] = [];
  for (let failure = 0; failure < 3; failure += 1) {
    await vi.advanceTimersByTimeAsync(11_000);
    newest().onEnded(FAILURE);
    await vi.advanceTimersByTimeAsync(0);
    waits.push(source()?.retryInMs ?? 0);
    await vi.advanceTimersByTimeAsync(waits.at(-1) ?? 0);
  }
  expect(waits).toEqual([1000, 2000, 4000]);
});

it('holds its name from the start, over losses however long, until it is stopped', async () => {
  service.start(CAM);
  const claim = () =>
    registry.using('cam', async (broadcast) =>
      Promise.resolve(broadcast.claim({ token: undefined, kind: 'issued' }, 'a').release()),
    );
  expect(registry.list().broadcasts).toMatchObject([{ name: 'cam', state: 'waiting' }]);
  await expect(claim()).rejects.toMatchObject({ code: 'broadcast.nameTaken' });
  newest().onOpened(OPENED);
  picture(0);
  expect(registry.list().broadcasts).toMatchObject([{ state: 'live' }]);
  newest().onEnded(FAILURE);
  for (let second = 0; second < 70; second += 1) {
    await vi.advanceTimersByTimeAsync(1000);
    registry.tick();
  }
  await expect(claim()).rejects.toMatchObject({ code: 'broadcast.nameTaken' });
  expect(() => service.start(CAM)).toThrow('another source');
  await service.stop('cam');
  await claim();
  expect(registry.get('cam')).toBeUndefined();
});

it.each(['connecting', 'delivering', 'waiting'] as const)(
  'stop() while it is %s ends its process, and nothing comes after',
  async (state) => {
    service.start(CAM);
    if (state === 'delivering') newest().onOpened(OPENED);
    if (state === 'waiting') newest().onEnded(FAILURE);
    await vi.advanceTimersByTimeAsync(0);
    expect(source()?.state).toBe(state);
    await service.stop('cam');
    expect(pullers).toHaveLength(1);
    expect(pullers[0]?.closed).toBeGreaterThan(0);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(pullers).toHaveLength(1);
    expect(registry.broadcastCount).toBe(0);
  },
);

it('says its state and its failures in the metrics', async () => {
  metrics.observe(() => ({ ...registry.metricsSnapshot(), outputs: [], engines: [], sources: service.snapshot() }));
  const states = async () => [
    ...(await metrics.text()).matchAll(/^flashvsr_source_state\{source="cam",state="(\w+)"\} 1$/gm),
  ];
  service.start(CAM);
  expect((await states()).map(([, state]) => state)).toEqual(['connecting']);
  newest().onOpened(OPENED);
  await vi.advanceTimersByTimeAsync(0);
  expect((await states()).map(([, state]) => state)).toEqual(['delivering']);
  newest().onEnded(FAILURE);
  await vi.advanceTimersByTimeAsync(0);
  expect((await states()).map(([, state]) => state)).toEqual(['waiting']);
  expect(await metrics.text()).toContain('flashvsr_source_failures_total{source="cam",code="target.unreachable"} 1');
  await service.stop('cam');
  expect(await states()).toEqual([]);
});

it('a source that opens and sends no picture is given up by its broadcast, and tried again', async () => {
  service.start(CAM);
  newest().onOpened(OPENED);
  await vi.advanceTimersByTimeAsync(16_000);
  registry.tick();
  await vi.advanceTimersByTimeAsync(0);
  expect(source()).toMatchObject({ state: 'waiting', lastError: { code: 'publish.noPicture' } });
  expect(pullers[0]?.closed).toBeGreaterThan(0);
});

it('what its process left out counts as a drop of its broadcast, once', async () => {
  service.start(CAM);
  newest().onOpened(OPENED);
  picture(0);
  for (const framesDropped of [0, 3, 3, 5]) newest().onAlive({ type: 'alive', framesDropped, damaged: 0 });
  registry.tick();
  expect(registry.get('cam')?.stats?.drops).toMatchObject({ 'ingest-slow': 5 });
  expect(source()?.stats).toMatchObject({ codec: 'VP8', hasAudio: true });
});

it.each(['H264', 'VP8', 'VP9', 'AV1'] as const)('says whether there are packets to forward of %s', (codec) => {
  service.start(CAM);
  newest().onOpened(OPENED);
  newest().onVideo({ kind: 'video', codec, keyframe: true, timestamp: 0, data: Buffer.alloc(50) });
  expect(registry.get('cam')).toMatchObject({ sourceCodec: codec, sourcePacketized: ['H264', 'VP8'].includes(codec) });
});

it('shows no secret of its address', () => {
  service.start(CAM);
  expect(source()?.target).toBe('rtsp://host.example:8554');
  expect(JSON.stringify(service)).not.toContain('secret');
});

it('refuses names that a publisher holds', async () => {
  await registry.using('cam', async (broadcast) => {
    const release = broadcast.keepFor('another');
    expect(() => service.start(CAM)).toThrow('belongs to another publisher');
    await Promise.resolve(release());
  });
  service.start(CAM);
});

it('a first wait above the longest is the longest; sources that one server lost come back spread', async () => {
  service.start({ ...CAM, retrySeconds: 60, maxRetrySeconds: 30 });
  for (const [random, wait] of [
    [0.5, 60_000],
    [0, 48_000],
    [1, 72_000],
  ] as const) {
    vi.mocked(Math.random).mockReturnValue(random);
    newest().onEnded(FAILURE);
    await vi.advanceTimersByTimeAsync(0);
    expect(source()?.retryInMs).toBe(wait);
    await vi.advanceTimersByTimeAsync(wait);
  }
});
