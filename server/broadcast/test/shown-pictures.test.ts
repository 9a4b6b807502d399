import { expect, it } from 'vitest';
import { AppError } from '../../errors.ts';
import { PACKET, World } from './fakes.ts';

/** What a viewer does not show is neither sent to it nor encoded for it. */

const KEYFRAME = Uint8Array.of(0x10, 0x10, 0, 0);
const INTER = Uint8Array.of(0x10, 0x11, 0, 0);

async function watching(show?: { result: boolean; source: boolean }) {
  const world = new World();
  await world.publish('a');
  const viewer = await world.watch('a', 'H264 source', undefined, true, show === undefined ? {} : { show });
  viewer.peer.connect();
  const send = (payload: Uint8Array) => world.publishers[0]?.listener.onVideoPacket({ ...PACKET, payload }, 'VP8');
  const encoders = () => world.pipelines[0]?.encoders.map(({ codec, rendition }) => `${codec} ${rendition}`);
  const show2 = (result: boolean, source: boolean) => world.sessions.show(viewer.session, { result, source });
  return { world, ...viewer, send, encoders, show: show2 };
}

it('the source of one who does not show it stays away, and comes back with a keyframe, without a gap', async () => {
  const { world, peer, send, show } = await watching({ result: true, source: false });
  send(INTER);
  send(KEYFRAME);
  expect(peer.sources).toHaveLength(0);
  const asked = world.publishers[0]?.keyframeRequests ?? 0;
  show(true, true);
  expect(world.publishers[0]?.keyframeRequests, 'the publisher is asked for a keyframe').toBe(asked + 1);
  send(INTER);
  expect(peer.sources).toHaveLength(0);
  send(KEYFRAME);
  send(INTER);
  expect(peer.sources.map(({ payload }) => payload)).toEqual([KEYFRAME, INTER]);
  expect(peer.sourceJoins).toBe(1);
  show(true, false);
  send(INTER);
  show(true, true);
  send(INTER);
  expect(peer.sources).toHaveLength(2);
  send(KEYFRAME);
  expect([peer.sources.length, peer.sourceJoins]).toEqual([3, 2]);
});

it('one who shows all from the start gets every packet, as before', async () => {
  const { peer, send } = await watching();
  send(INTER);
  send(KEYFRAME);
  expect([peer.sources.length, peer.sourceJoins]).toEqual([2, 0]);
});

it('a result that the only viewer does not show is not encoded; shown again it begins with a keyframe', async () => {
  const { world, peer, encoders, show } = await watching();
  world.frame('H264', 'full', true);
  expect([peer.results.length, encoders()]).toEqual([1, ['H264 full']]);
  show(false, true);
  expect(encoders()).toEqual([]);
  world.frame('H264', 'full', false);
  world.pass(2);
  expect([peer.results.length, encoders()]).toEqual([1, []]);
  const asked = world.pipelines[0]?.keyframes.length ?? 0;
  show(true, true);
  expect(encoders()).toEqual(['H264 full']);
  expect(world.pipelines[0]?.keyframes.length).toBe(asked + 1);
  world.frame('H264', 'full', false);
  world.frame('H264', 'full', true);
  expect(peer.results.map(({ keyframe }) => keyframe)).toEqual([true, true]);
});

it('others keep the result that it does not show', async () => {
  const { world, peer, encoders, show } = await watching();
  const other = await world.watch('a');
  other.peer.connect();
  show(false, true);
  world.pass(1);
  expect(encoders()).toEqual(['H264 full']);
  world.frame('H264', 'full', true);
  expect([peer.results.length, other.peer.results.length]).toEqual([0, 1]);
});

it('nothing shown before the peer connects costs nothing', async () => {
  const world = new World();
  await world.publish('a');
  const none = { show: { result: false, source: false } };
  const { peer } = await world.watch('a', 'H264 source', undefined, true, none);
  const asked = world.publishers[0]?.keyframeRequests;
  peer.connect();
  expect(world.pipelines[0]?.encoders).toEqual([]);
  expect(world.publishers[0]?.keyframeRequests).toBe(asked);
});

it('is a matter of viewers', async () => {
  const world = new World();
  const { session } = await world.publish('a');
  const show = (of: string) => () => world.sessions.show(of, { result: true, source: true });
  expect(show(session)).toThrow(AppError);
  expect(show('none')).toThrow(/does not watch/);
});

it('the publisher’s own page is no viewer for those who count', async () => {
  const world = new World();
  await world.publish('a');
  const own = await world.watch('a', 'H264', undefined, true, { own: true });
  own.peer.connect();
  expect(world.registry.list().broadcasts[0]?.viewers).toBe(0);
  expect(world.pipelines[0]?.encoders, 'it is served all the same').toHaveLength(1);
  const other = await world.watch('a');
  other.peer.connect();
  world.pass(1);
  expect(world.registry.list().broadcasts[0]?.viewers).toBe(1);
  expect(world.registry.get('a')?.stats?.viewers).toBe(1);
});
