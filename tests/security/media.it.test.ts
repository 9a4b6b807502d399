import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { encodeClip, type Clip } from '../../testing/clip.ts';
import { absurdStreams } from '../../testing/hostile/h264.ts';
import { HonestBroadcast } from '../../testing/hostile/honest-broadcast.ts';
import { HostilePublisher, HostileViewer } from '../../testing/hostile/media-peer.ts';
import {
  CONTROL,
  parameterSetFlood,
  publisherAttacks,
  makeSteps,
  type PublisherAttack,
} from '../../testing/hostile/publisher-attacks.ts';
import { buildRemb } from '../../testing/rtcp.ts';
import { ServerProcess, sleep } from '../../testing/server-process.ts';
import { buildPictureLoss } from '../../server/media/rtcp.ts';

/**
 * Authenticated peers with hostile packets against the server as a process, beside an honest broadcast. Asserted is the
 * processor time of the server's RTP thread, a packet of the attack against a harmless one in the same run: frames a second
 * depend on what else the machine does. `npm run bench:hostile` prints those.
 */
const CLIP = new URL('../../testdata/clips/astronaut_320x180.mp4', import.meta.url).pathname;
let server: ServerProcess;
let clip: Clip;
const named = (name: string): PublisherAttack => {
  const found = publisherAttacks(clip).find((attack) => attack.name === name);
  if (found === undefined) throw new Error(`no attack "${name}"`);
  return found;
};
const cleanup: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  server = await ServerProcess.start({
    args: ['--limits.maxBroadcasts', '8', '--limits.maxConnectionsPerAddress', '64'],
  });
  clip = await encodeClip({ codec: 'H264', file: CLIP, seconds: 3, bitrateBps: 300_000 });
});
afterEach(async () => {
  for (const close of cleanup.splice(0).reverse()) await close();
});
afterAll(() => server.kill());

describe('an honest broadcast beside a hostile publisher', () => {
  let honest: HonestBroadcast;
  let controlUs = 0;

  beforeAll(async () => {
    honest = await HonestBroadcast.start(server.url, 'honest', clip);
    await costUs(CONTROL, 3000); // compiles the code
    controlUs = Math.max(await costUs(CONTROL, 5000), await costUs(CONTROL, 5000));
  }, 180_000);
  afterAll(() => honest.stop());

  /** Main thread's time a step, what it spends without the attack in as much time taken off; the honest viewer goes on. */
  async function costUs(attack: PublisherAttack, steps: number, prepared = attack): Promise<number> {
    const idle = { atMs: performance.now(), seconds: server.mainThreadSeconds() };
    await sleep(1000);
    const idleShare = (server.mainThreadSeconds() - idle.seconds) / ((performance.now() - idle.atMs) / 1000);
    const publisher = await HostilePublisher.connect(server.url, `evil-${Math.random().toString(36).slice(2)}`);
    await prepared.prepare?.(publisher);
    await sleep(500);
    const before = { atMs: performance.now(), seconds: server.mainThreadSeconds() };
    await makeSteps({ ...attack, prepare: () => Promise.resolve() }, publisher, steps);
    const elapsedSeconds = (performance.now() - before.atMs) / 1000;
    const spent = server.mainThreadSeconds() - before.seconds - idleShare * elapsedSeconds;
    await publisher.stop();
    expect(server.exit).toBeUndefined();
    await honest.goesOn();
    return (Math.max(0, spent) * 1e6) / steps;
  }

  it.each([
    'sequence jumps of 5000 and 9000',
    'transport-cc jumps of 8000',
    'both kinds of jumps',
    '1000 packets/s of new SSRCs',
    'every packet twenty times',
    'sender reports with random clocks',
  ])('%s: a packet costs about what a harmless one does', async (name) => {
    const attack = named(name);
    const numbered = attack.perSecond === CONTROL.perSecond;
    // A step of the others sends an honest frame and up to 60 packets beside it.
    const packets = numbered ? 1 : 60;
    const costs = await costUs(attack, numbered ? 5000 : 120);
    // 83 to 174 us before, 16 to 20 us for a harmless packet.
    expect(costs).toBeLessThan(packets * (2.5 * controlUs + (numbered ? 15 : 60)));
  });

  it('remembered parameter sets: a tiny IDR costs no copy of them, and memory stays flat', async () => {
    const before = server.residentMiB();
    const flood = parameterSetFlood(100);
    expect(await costUs(flood, 150, flood)).toBeLessThan(2000); // 3900 us before: 20 MB were copied for each
    expect(server.residentMiB() - before).toBeLessThan(200);
  });

  it.each(Object.keys(absurdStreams()))('H264 that claims %s is refused or ignored, the others go on', async (key) => {
    const publisher = await HostilePublisher.connect(server.url, `absurd-${key.replace(/\W/g, '-')}`);
    await makeSteps(named(`H264 ${key}`), publisher, 20);
    await publisher.stop();
    expect(server.exit).toBeUndefined();
    await honest.goesOn();
  });
});

describe('a publisher whose timestamps do not advance', () => {
  it.each(['timestamps that stand still', 'timestamps that run backwards'])(
    '%s: is seen all the same',
    async (name) => {
      const publisher = await HostilePublisher.connect(server.url, name.replace(/ /g, '-'));
      cleanup.push(() => publisher.stop());
      await makeSteps(named(name), publisher, 120);
      const replaced = () => publisher.signaling.stats.get(publisher.session)?.source.timestampsReplaced;
      await expect.poll(replaced, { timeout: 20_000 }).toBeGreaterThan(90);
    },
  );
});

describe('a hostile viewer beside an honest one', () => {
  const keyframes = async (): Promise<number> => {
    const metrics = await (await server.get('/metrics')).text();
    return Number(/^flashvsr_encoder_keyframes_total (\d+)/m.exec(metrics)?.[1] ?? 0);
  };

  it('a PLI storm makes a few keyframes, then one every 3 s', async () => {
    const honest = await HonestBroadcast.start(server.url, 'pli', clip);
    cleanup.push(() => honest.stop());
    const viewer = await HostileViewer.connect(server.url, 'pli');
    cleanup.push(() => viewer.stop());
    await sleep(3000);
    const before = { keyframes: await keyframes(), atMs: performance.now() };
    for (let round = 0; round < 600; round += 1) {
      await viewer.sendRtcp(buildPictureLoss(viewer.ssrc, viewer.mediaSsrcs[0] ?? 0));
      await sleep(15);
    }
    const seconds = (performance.now() - before.atMs) / 1000;
    expect((await keyframes()) - before.keyframes).toBeLessThanOrEqual(3 + seconds / 3 + 2); // two a second before
  });

  it('a REMB of 360 kbit/s slows the liar alone', async () => {
    const honest = await HonestBroadcast.start(server.url, 'remb', clip);
    cleanup.push(() => honest.stop());
    const good = await HostileViewer.connect(server.url, 'remb');
    cleanup.push(() => good.stop());
    const claim = (viewer: HostileViewer, bps: number) =>
      viewer.sendRtcp(buildRemb(viewer.ssrc, bps, viewer.mediaSsrcs.slice(0, 1)));
    for (let second = 0; second < 10; second += 1) {
      await claim(good, 8e6);
      await sleep(1000);
    }
    const wanted = () => bitsPerFrame(good);
    const before = wanted();
    const liar = await HostileViewer.connect(server.url, 'remb');
    cleanup.push(() => liar.stop());
    let least = Infinity;
    for (let second = 0; second < 20; second += 1) {
      await claim(good, 8e6);
      await claim(liar, 360_000);
      await sleep(1000);
      if (second > 3) least = Math.min(least, wanted());
    }
    expect(before).toBeGreaterThan(0);
    expect(least / before).toBeGreaterThan(0.6); // 0.05 before
  });

  /** The encoder's bit rate as a busy machine does not change it. */
  const bitsPerFrame = (viewer: HostileViewer): number => {
    const output = viewer.signaling.stats.get(viewer.session)?.output;
    return output === undefined ? NaN : output.bitrateBps / Math.max(1, output.framesPerSecond);
  };
});
