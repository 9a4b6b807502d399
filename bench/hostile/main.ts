import { parseArgs } from 'node:util';
import { encodeClip } from '../../testing/clip.ts';
import { HonestBroadcast } from '../../testing/hostile/honest-broadcast.ts';
import { HostilePublisher } from '../../testing/hostile/media-peer.ts';
import { hostileOffers } from '../../testing/hostile/offers.ts';
import { CONTROL, publisherAttacks, runAttack } from '../../testing/hostile/publisher-attacks.ts';
import { SignalingClient } from '../../testing/peers/signaling-client.ts';
import { ServerProcess, sleep } from '../../testing/server-process.ts';
import { printTable } from '../table.ts';

/**
 * `npm run bench:hostile`: one honest broadcast of 30 frames/s, and beside it each hostile publisher in turn: what does the
 * honest viewer still get? Exits with 1 when it gets less than 27 of 30 frames of what the control leaves it.
 */
const CLIP = new URL('../../testdata/clips/astronaut_320x180.mp4', import.meta.url).pathname;
const LEAST_SHARE = 27 / 30;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '6' },
    only: { type: 'string', default: '' },
  },
});
const seconds = Number(values.seconds);

interface Row {
  readonly attack: string;
  readonly perSecond: number;
  readonly framesPerSecond: number;
  readonly share: number;
  readonly cpu: number;
  readonly residentMiB: number;
  readonly worstHealthMs: number;
}

/** The longest answer of /healthz while something runs: how long the event loop stood still. */
async function worstHealthMs<T>(server: ServerProcess, run: () => Promise<T>): Promise<{ result: T; worstMs: number }> {
  let worstMs = 0;
  let running = true;
  const probing = (async () => {
    while (running) {
      const startedMs = performance.now();
      await server.get('/healthz', 30_000).then((response) => response.text());
      worstMs = Math.max(worstMs, performance.now() - startedMs);
      await sleep(100);
    }
  })();
  try {
    return { result: await run(), worstMs };
  } finally {
    running = false;
    await probing;
  }
}

async function measure(
  server: ServerProcess,
  honest: HonestBroadcast,
  attack: string,
  run: () => Promise<{ readonly perSecond: number }>,
): Promise<Row> {
  const cpuBefore = server.processorSeconds();
  const startedMs = performance.now();
  let worstMs = 0;
  const { result, framesPerSecond, share } = await honest.during(async () => {
    const probed = await worstHealthMs(server, run);
    worstMs = probed.worstMs;
    return probed.result;
  });
  const cpu = (server.processorSeconds() - cpuBefore) / ((performance.now() - startedMs) / 1000);
  const residentMiB = server.residentMiB();
  return { attack, perSecond: result.perSecond, framesPerSecond, share, cpu, residentMiB, worstHealthMs: worstMs };
}

/** Offers of one name, five a second, to publish and to watch. */
async function offerFlood(url: string, sdp: string): Promise<{ readonly perSecond: number }> {
  const signaling = await SignalingClient.connect(url);
  let sent = 0;
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end) {
    const request = sent % 2 === 0 ? signaling.publish(`o${sent % 8}`, sdp) : signaling.watch('honest', sdp);
    await request.then(({ session }) => signaling.leave(session)).catch(() => undefined);
    sent += 1;
    await sleep(200);
  }
  signaling.close();
  return { perSecond: sent / seconds };
}

async function main(): Promise<number> {
  const server = await ServerProcess.start({
    args: ['--limits.maxBroadcasts', '4', '--limits.maxConnectionsPerAddress', '64'],
  });
  const clip = await encodeClip({ codec: 'H264', file: CLIP, seconds: 3, bitrateBps: 300_000 });
  const honest = await HonestBroadcast.start(server.url, 'honest', clip);
  const rows: Row[] = [];
  try {
    for (const attack of [CONTROL, ...publisherAttacks(clip)]) {
      if (attack !== CONTROL && !attack.name.includes(values.only)) continue;
      const publisher = await HostilePublisher.connect(server.url, `evil-${rows.length}`, attack.codec);
      rows.push(await measure(server, honest, attack.name, () => runAttack(attack, publisher, seconds)));
      await publisher.stop();
      await sleep(500);
    }
    for (const [name, sdp] of Object.entries(hostileOffers())) {
      if (!name.includes(values.only)) continue;
      rows.push(await measure(server, honest, `offer: ${name}`, () => offerFlood(server.url, sdp)));
    }
  } finally {
    await honest.stop();
    await server.kill();
  }
  const control = rows[0]?.share ?? 1;
  const head = ['attack', 'per s', 'honest fps', 'of its frames', 'server CPU', 'RSS MiB', 'worst /healthz'];
  printTable('one honest broadcast beside each hostile publisher', [
    head,
    ...rows.map((row) => [
      row.attack,
      row.perSecond.toFixed(0),
      row.framesPerSecond.toFixed(1),
      `${(100 * row.share).toFixed(0)} %`,
      row.cpu.toFixed(2),
      row.residentMiB.toFixed(0),
      `${row.worstHealthMs.toFixed(0)} ms`,
    ]),
  ]);
  const spoiled = rows.filter(({ share }) => share < LEAST_SHARE * control);
  for (const { attack, share } of spoiled) {
    console.error(`${attack}: ${(30 * share).toFixed(1)} of 30 frames/s reach the honest viewer`);
  }
  return spoiled.length === 0 ? 0 : 1;
}

process.exitCode = await main();
