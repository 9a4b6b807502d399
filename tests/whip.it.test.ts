import { cleanup as cleanUpLibdatachannel } from 'node-datachannel';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { encodeClip, type Clip } from '../testing/clip.ts';
import { offerText } from '../testing/offers.ts';
import { LibdatachannelPeer } from '../testing/peers/libdatachannel.ts';
import { NodePublisher, type NodePublisherOptions } from '../testing/peers/node-publisher.ts';
import { NodeViewer, type NodeViewerOptions } from '../testing/peers/node-viewer.ts';
import { WhipClient } from '../testing/whip-client.ts';
import { WhipServer } from '../testing/whip-server.ts';

/** WHIP in and WHEP out through the whole server, real WebRTC over loopback. */
let server: WhipServer;
let clip: Clip;
const cleanup: (() => unknown)[] = [];

beforeAll(async () => {
  server = await WhipServer.start();
  clip = await encodeClip({ codec: 'H264', seconds: 2, bitrateBps: 300_000 });
});
afterEach(async () => {
  for (const close of cleanup.splice(0).reverse()) await close();
});
afterAll(async () => {
  await server.close();
  cleanUpLibdatachannel();
});

async function publish(name: string, bearer?: string, options: Partial<NodePublisherOptions> = {}) {
  const publisher = new NodePublisher({ clip, ...options });
  cleanup.push(() => publisher.stop());
  const made: { client?: WhipClient } = {};
  await publisher.start(async (offer) => {
    made.client = await WhipClient.post(`${server.url}/whip/${name}`, offer, bearer);
    return made.client.answer;
  });
  const { client } = made;
  if (client === undefined) throw new Error('no session');
  cleanup.push(() => client.delete());
  return { publisher, client };
}

async function watch(path: string, options: NodeViewerOptions = {}) {
  const viewer = new NodeViewer(options);
  cleanup.push(() => viewer.stop());
  await viewer.start(async (offer) => {
    const client = await WhipClient.post(`${server.url}/whep/${path}`, offer);
    cleanup.push(() => client.delete());
    return client.answer;
  });
  return viewer;
}

const live = (name: string) =>
  expect.poll(() => server.app.registry.get(name)?.state, { timeout: 10_000 }).toBe('live');

describe('WHIP in, WHEP out', () => {
  it('the result reaches a player four times as large, with audio', async () => {
    await publish('room/anna', undefined, { audio: true });
    await live('room/anna');
    let audioPackets = 0;
    const viewer = await watch('room/anna', { audio: true, onAudioPacket: () => (audioPackets += 1) });
    await viewer.waitForFrames(30);
    expect(viewer.frames[0]).toMatchObject({ keyframe: true, codec: 'H264' });
    await expect.poll(() => audioPackets, { timeout: 10_000 }).toBeGreaterThan(20);
    await expect
      .poll(() => server.stats('room/anna'), { timeout: 10_000 })
      .toMatchObject({ source: { width: 320, codec: 'H264' }, output: { width: 1280, height: 720 } });
  });

  it('?track=source gives the untouched pictures and runs no encoder', async () => {
    await publish('original');
    await live('original');
    const sizes: number[] = [];
    const viewer = await watch('original?track=source', { onFrame: ({ data }) => void sizes.push(data.length) });
    await viewer.waitForFrames(30);
    // Encoded before the server saw it: every picture has a size of the clip's.
    const known = new Set(clip.frames.map(({ data }) => data.length));
    expect(sizes.slice(0, 30).filter((size) => !known.has(size))).toEqual([]);
    await expect.poll(() => server.stats('original')?.output.codec, { timeout: 5000 }).toBe('');
  });

  it('a player is refused while the broadcast is not live, and nothing is kept', async () => {
    const response = await fetch(`${server.url}/whep/nothing`, {
      method: 'POST',
      headers: { 'content-type': 'application/sdp' },
      body: offerText('whep-pion4.2.1'),
    });
    expect([response.status, response.headers.get('retry-after')]).toEqual([409, '2']);
    expect(server.app.registry.get('nothing')).toBeUndefined();
    expect(server.app.sessions.size).toBe(0);
  });

  it('an offer that is refused leaves nothing', async () => {
    const headers = { 'content-type': 'application/sdp' };
    for (const [body, status] of [
      ['v=0\r\n', 400],
      [offerText('whep-pion4.2.1'), 422],
    ] as const) {
      const response = await fetch(`${server.url}/whip/nothing`, { method: 'POST', headers, body });
      expect([status, response.headers.get('content-type')]).toEqual([response.status, 'application/problem+json']);
    }
    expect(server.app.registry.get('nothing')).toBeUndefined();
    expect(server.app.sessions.size).toBe(0);
  });
});

describe('the end of a session', () => {
  it('DELETE frees the name at once', async () => {
    const { client } = await publish('left');
    await live('left');
    expect(await client.delete()).toBe(200);
    expect(server.app.registry.get('left')).toBeUndefined();
    expect(await client.delete()).toBe(404);
    await publish('left');
  });

  /** libdatachannel, which acts on close_notify; werift does not. */
  async function listening(url: string, bearer?: string) {
    const peer = new LibdatachannelPeer('SendOnly');
    cleanup.push(() => peer.close());
    const made: { client?: WhipClient } = {};
    await peer.start(async (offer) => {
      made.client = await WhipClient.post(url, offer, bearer);
      return made.client.answer;
    });
    await expect.poll(() => peer.state, { timeout: 10_000 }).toBe('connected');
    return { peer, session: made.client?.session ?? '' };
  }

  it('another POST with the same token replaces the session, which hears close_notify; viewers stay', async () => {
    const url = `${server.url}/whip/again`;
    const first = await listening(url, 'my-secret');
    const viewer = await watch('again?wait=1');
    for (const other of [undefined, 'guess']) {
      await expect(WhipClient.post(url, offerText('whip-obs32.2.2'), other)).rejects.toThrow(/^409 /);
    }
    await publish('again', 'my-secret');
    await expect.poll(() => first.peer.state, { timeout: 5000 }).toBe('closed');
    await viewer.waitForFrames(15);
    expect((await fetch(first.session, { method: 'DELETE' })).status).toBe(404);
  });

  it('a publisher of a server that stops hears close_notify', async () => {
    const own = await WhipServer.start();
    cleanup.push(() => own.close());
    const { peer } = await listening(`${own.url}/whip/stopped`);
    await own.close();
    await expect.poll(() => peer.state, { timeout: 5000 }).toBe('closed');
  });
});
