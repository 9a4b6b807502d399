import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { encodeClip, type Clip } from '../../testing/clip.ts';
import { plainOffer } from '../../testing/hostile/offers.ts';
import { NodePublisher } from '../../testing/peers/node-publisher.ts';
import { SignalingClient, SignalingError } from '../../testing/peers/signaling-client.ts';
import { ServerProcess } from '../../testing/server-process.ts';

/** Clients that want more than their share, against the server as a process: places, sessions, threads. */
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const cleanup: (() => unknown)[] = [];
let clip: Clip;

beforeAll(async () => {
  clip = await encodeClip({ codec: 'VP8', seconds: 2 });
});
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
});

async function start(...args: string[]): Promise<ServerProcess> {
  const server = await ServerProcess.start({ args: ['--limits.maxMessagesPerSecond', '1000', ...args] });
  cleanup.push(() => server.kill());
  return server;
}

async function client(server: ServerProcess): Promise<SignalingClient> {
  const made = await SignalingClient.connect(server.url);
  cleanup.push(() => made.terminate());
  return made;
}

/** A publisher with pictures. @returns 'live', or the code of the refusal */
async function publishHonestly(server: ServerProcess, name: string): Promise<string> {
  const signaling = await client(server);
  const publisher = new NodePublisher({ clip });
  cleanup.push(() => publisher.stop());
  let session = '';
  try {
    await publisher.start(async (offer) => {
      const reply = await signaling.publish(name, offer);
      session = reply.session;
      return reply.sdp;
    });
    await signaling.waitForState(session, 'live');
    return 'live';
  } catch (thrown) {
    if (thrown instanceof SignalingError) return thrown.code;
    throw thrown;
  }
}

async function metric(server: ServerProcess, name: string): Promise<number> {
  const body = await (await server.get('/metrics')).text();
  return Number(new RegExp(`^${name} (\\S+)`, 'm').exec(body)?.[1]);
}

it('publish under a new name and cut, 60 times in 4 s: no pipeline starts, and a publisher with pictures gets in', async () => {
  const server = await start('--limits.maxBroadcasts', '2');
  let most = 0;
  for (let round = 0; round < 60; round += 1) {
    const signaling = await SignalingClient.connect(server.url);
    void signaling.publish(`p${round}`, plainOffer()).catch(() => undefined);
    await sleep(60);
    signaling.terminate();
    if (round % 10 === 9) most = Math.max(most, await metric(server, 'flashvsr_broadcasts'));
  }
  await sleep(1000);
  // 35 pipelines and 82 threads before.
  expect(Math.max(most, await metric(server, 'flashvsr_broadcasts'))).toBe(0);
  expect(await publishHonestly(server, 'honest')).toBe('live');
  expect(await metric(server, 'flashvsr_broadcasts')).toBe(1);
});

it('fake offers of one address on six sockets, renewed without end, hold no place: an honest publisher gets in at once', async () => {
  const server = await start('--limits.maxBroadcasts', '2');
  let stop = false;
  const hogs = Array.from({ length: 6 }, async (_, hog) => {
    const signaling = await client(server);
    for (let count = 0; !stop; count += 1) {
      const reply = await signaling.publish(`hog${hog}-${count}`, plainOffer()).catch(() => undefined);
      await sleep(reply === undefined ? 20 : 1000);
      if (reply !== undefined) await signaling.leave(reply.session).catch(() => undefined);
    }
  });
  await sleep(1500);
  const outcomes = [await publishHonestly(server, 'honest'), await publishHonestly(server, 'second')];
  stop = true;
  await Promise.all(hogs);
  // 39 of 39 attempts in a minute were refused before.
  expect(outcomes).toEqual(['live', 'live']);
});

describe('offers that cannot be taken push out no session of their address', () => {
  const WEAK = plainOffer().replace(/^a=fingerprint:.*$/m, `a=fingerprint:sha-1 ${'AB:'.repeat(19)}AB`);
  const refused: readonly (readonly [string, string, string, number])[] = [
    ['no SDP', 'v=1', 'sdp.invalid', 400],
    ['an offer to watch', plainOffer({ kind: 'watch' }), 'sdp.unsupported', 422],
    ['a short ICE password', plainOffer({ password: 'short' }), 'sdp.invalid', 400],
    ['a fingerprint of SHA-1', WEAK, 'sdp.invalid', 400],
    ['repeated payload types', plainOffer({ formats: '96 96' }), 'sdp.invalid', 400],
  ];
  const alive = (owner: SignalingClient, session: string) =>
    owner.request({ type: 'candidate', session, candidate: { candidate: '' } }, 'ok');

  it('over the WebSocket and over WHIP; one that can be taken does', async () => {
    const server = await start('--limits.maxBroadcastsPerAddress', '1');
    const owner = await client(server);
    const { session } = await owner.publish('first', plainOffer());
    const other = await client(server);
    for (const [what, sdp, code, status] of refused) {
      await expect(other.publish('second', sdp), what).rejects.toMatchObject({ code });
      const headers = { 'content-type': 'application/sdp' };
      const response = await fetch(`${server.url}/whip/second`, { method: 'POST', headers, body: sdp });
      expect([what, response.status, ((await response.json()) as { code: string }).code]).toEqual([what, status, code]);
      await alive(owner, session);
    }
    const headers = { 'content-type': 'application/sdp' };
    const taken = await fetch(`${server.url}/whip/second`, { method: 'POST', headers, body: plainOffer() });
    expect(taken.status).toBe(201);
    await expect(alive(owner, session)).rejects.toMatchObject({ code: 'request.unknownSession' });
    const { session: third } = await other.publish('third', plainOffer());
    await alive(other, third);
    const gone = await fetch(new URL(taken.headers.get('location') ?? '', server.url), { method: 'DELETE' });
    expect(gone.status).toBe(404);
  });
});

it('a connected publisher without pictures holds no place and is ended with a reason', async () => {
  const server = await start('--limits.maxBroadcasts', '1');
  const signaling = await client(server);
  const mute = new NodePublisher({ clip: { ...clip, frames: [] }, loop: false });
  cleanup.push(() => mute.stop());
  let session = '';
  await mute.start(async (offer) => {
    const reply = await signaling.publish('mute', offer);
    session = reply.session;
    return reply.sdp;
  });
  expect(await publishHonestly(server, 'second')).toBe('live');
  await signaling.waitForState(session, 'ended', 45_000);
  expect(signaling.states.at(-1)?.code).toBe('publish.noPicture');
});

it('160 watches at once with a limit of 20 are 20 viewers', async () => {
  const server = await start('--limits.maxViewers', '20');
  const sockets = await Promise.all(Array.from({ length: 10 }, () => client(server)));
  const replies = await Promise.all(
    Array.from({ length: 160 }, (_, index) =>
      (sockets[index % 10] as SignalingClient).watch(`room${index % 3}`, plainOffer({ kind: 'watch' })).then(
        () => 'in',
        (error: SignalingError) => error.code,
      ),
    ),
  );
  expect(replies.filter((reply) => reply === 'in')).toHaveLength(20);
  expect(replies.filter((reply) => reply === 'server.full')).toHaveLength(140);
  expect(await metric(server, 'flashvsr_viewers')).toBe(20);
});
