import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { encodeClip } from '../../testing/clip.ts';
import { Random } from '../../testing/fuzz/random.ts';
import { mutateOffer } from '../../testing/fuzz/sdp.ts';
import { HonestBroadcast } from '../../testing/hostile/honest-broadcast.ts';
import { HostilePublisher } from '../../testing/hostile/media-peer.ts';
import { oddPublishers } from '../../testing/hostile/odd-publishers.ts';
import { hostileOffers } from '../../testing/hostile/offers.ts';
import { CONTROL, publisherAttacks, runAttack } from '../../testing/hostile/publisher-attacks.ts';
import { offerNames, offerText } from '../../testing/offers.ts';
import { SignalingClient } from '../../testing/peers/signaling-client.ts';
import { ServerProcess, sleep } from '../../testing/server-process.ts';
import { markdownTable } from '../table.ts';
import { judge, type Measured } from './verdict.ts';

/**
 * `npm run bench:hostile`: one honest broadcast of 30 frames/s, and beside it each hostile publisher in turn, then offers
 * that no client makes, over the WebSocket and over WHIP: what does the honest viewer still get? Prints a Markdown table.
 * Exits with 1 when it gets less than 27 of 30 frames beside one of them, with 2 when the machine cannot do that even alone.
 */
const CLIP = new URL('../../testdata/clips/astronaut_320x180.mp4', import.meta.url).pathname;
/** What one socket, and one address with WHIP, may send (limits.maxMessagesPerSecond, limits.maxWhipRequestsPerSecond). */
const OFFER_INTERVAL_MS = 50;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '10' },
    only: { type: 'string', default: '' },
  },
});
const seconds = Number(values.seconds);

interface Row extends Measured {
  readonly perSecond: number;
  readonly framesPerSecond: number;
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
  const { result, framesPerSecond, share, sent } = await honest.during(async () => {
    const probed = await worstHealthMs(server, run);
    worstMs = probed.worstMs;
    return probed.result;
  });
  const cpu = (server.processorSeconds() - cpuBefore) / ((performance.now() - startedMs) / 1000);
  const residentMiB = server.residentMiB();
  return {
    attack,
    perSecond: result.perSecond,
    framesPerSecond,
    share,
    sent,
    cpu,
    residentMiB,
    worstHealthMs: worstMs,
  };
}

/** Calls `step` as often as one client may, one call after the other. */
async function atTheLimit(step: (index: number) => Promise<unknown>): Promise<{ readonly perSecond: number }> {
  const startedMs = performance.now();
  let steps = 0;
  while (performance.now() - startedMs < seconds * 1000) {
    await step(steps);
    steps += 1;
    await sleep(steps * OFFER_INTERVAL_MS - (performance.now() - startedMs));
  }
  return { perSecond: steps / seconds };
}

/** To publish and to watch by turns, over one WebSocket. */
async function offerFlood(url: string, sdpOf: () => string): Promise<{ readonly perSecond: number }> {
  const signaling = await SignalingClient.connect(url);
  try {
    return await atTheLimit(async (index) => {
      const sdp = sdpOf();
      const request = index % 2 === 0 ? signaling.publish(`o${index % 8}`, sdp) : signaling.watch('honest', sdp);
      const answered = request.then(({ session }) => signaling.leave(session)).catch(() => undefined);
      // A refusal of the message itself need not name the request.
      await Promise.race([answered, sleep(2000)]);
    });
  } finally {
    signaling.close();
  }
}

/** The same over WHIP and WHEP. */
function whipFlood(url: string, sdpOf: () => string): Promise<{ readonly perSecond: number }> {
  const headers = { 'content-type': 'application/sdp' };
  return atTheLimit(async (index) => {
    const path = index % 2 === 0 ? `whip/w${index % 8}` : 'whep/honest';
    const response = await fetch(`${url}/${path}`, { method: 'POST', headers, body: sdpOf() });
    await response.arrayBuffer();
    const session = response.headers.get('location');
    if (session !== null) await fetch(new URL(session, url), { method: 'DELETE' }).then((end) => end.arrayBuffer());
  });
}

function mutatedOffers(): () => string {
  const random = new Random(1);
  const offers = [...offerNames().map(offerText), ...Object.values(hostileOffers())];
  return () => mutateOffer(random, random.pick(offers)).slice(0, 60_000);
}

async function allRows(server: ServerProcess, honest: HonestBroadcast, clip: Awaited<ReturnType<typeof encodeClip>>) {
  const wanted = (name: string) => name.includes(values.only);
  const rows: Row[] = [];
  const add = async (name: string, run: () => Promise<{ readonly perSecond: number }>): Promise<void> => {
    rows.push(await measure(server, honest, name, run));
    console.error(`${name}: ${(30 * (rows.at(-1)?.share ?? 0)).toFixed(1)} of 30`);
    await sleep(500);
  };
  await add('nothing', async () => {
    await sleep(seconds * 1000);
    return { perSecond: 0 };
  });
  for (const attack of [CONTROL, ...publisherAttacks(clip), ...(await oddPublishers())]) {
    if (attack !== CONTROL && !wanted(attack.name)) continue;
    const publisher = await HostilePublisher.connect(server.url, `evil-${rows.length}`, attack.codec);
    await add(attack.name, () => runAttack(attack, publisher, seconds));
    await publisher.stop();
  }
  const offers = [
    ...Object.entries(hostileOffers()).map(([name, sdp]) => [name, () => sdp] as const),
    ['mutated offers of real clients', mutatedOffers()] as const,
  ];
  for (const [name, sdpOf] of offers) {
    if (wanted(`offer: ${name}`)) await add(`offer: ${name}`, () => offerFlood(server.url, sdpOf));
  }
  if (wanted('WHIP: mutated offers')) {
    await add('WHIP: mutated offers of real clients', () => whipFlood(server.url, mutatedOffers()));
  }
  return rows;
}

async function main(): Promise<number> {
  const server = await ServerProcess.start({
    args: ['--limits.maxBroadcasts', '4', '--limits.maxConnectionsPerAddress', '64'],
  });
  let honest: HonestBroadcast | undefined;
  let rows: readonly Row[];
  try {
    const clip = await encodeClip({ codec: 'H264', file: CLIP, seconds: 3, bitrateBps: 300_000 });
    honest = await HonestBroadcast.start(server.url, 'honest', clip);
    rows = await allRows(server, honest, clip);
  } finally {
    await honest?.stop();
    await server.kill();
  }
  const [model = 'unknown processor'] = cpus().map((cpu) => cpu.model);
  console.log(
    `One honest broadcast beside each hostile publisher, ${seconds} s each; ${cpus().length} x ${model}, Node ${process.version}.\n`,
  );
  const head = ['attack', 'per s', 'honest frames of 30', 'frames/s', 'server CPU', 'RSS MiB', 'worst /healthz ms'];
  const cells = rows.map((row) => [
    row.attack,
    row.perSecond.toFixed(0),
    (30 * row.share).toFixed(1),
    row.framesPerSecond.toFixed(1),
    row.cpu.toFixed(2),
    row.residentMiB.toFixed(0),
    row.worstHealthMs.toFixed(0),
  ]);
  console.log(markdownTable([head, ...cells]));
  const [alone, ...attacked] = rows;
  if (alone === undefined) throw new Error('nothing was measured');
  const { exitCode, misses } = judge(alone, attacked);
  for (const miss of misses) console.error(miss);
  return exitCode;
}

process.exitCode = await main();
