import { createRequire } from 'node:module';
import { afterEach, expect, it } from 'vitest';
import { testRtcOptions } from '../../../testing/rtc-options.ts';
import { monotonicUs } from '../../media/clock.ts';
import type { AccessUnit } from '../../media/types.ts';
import { localAddresses } from '../ice/candidates.ts';
import { PublisherConnection } from '../publisher-connection.ts';
import { PeerStack } from '../peer-stack.ts';
import { until } from '../../../testing/until.ts';

/** libwebrtc itself (@roamhq/wrtc) as publisher; it uses no loopback interface, so the server listens on all. */

interface Description {
  readonly type: string;
  readonly sdp: string;
}
/** What is used of the package, which has no types. */
interface LibWebrtc {
  readonly RTCPeerConnection: new (options: object) => {
    addTrack(track: unknown): object;
    getTransceivers(): readonly { readonly sender: object; stop(): void; direction: string }[];
    createOffer(options?: { iceRestart: boolean }): Promise<Description>;
    setLocalDescription(description: Description): Promise<void>;
    setRemoteDescription(description: Description): Promise<void>;
    close(): void;
    readonly localDescription: Description;
    readonly iceGatheringState: string;
  };
  readonly nonstandard: {
    readonly RTCVideoSource: new () => {
      createTrack(): { stop(): void };
      onFrame(frame: { width: number; height: number; data: Uint8ClampedArray }): void;
    };
  };
}
const { RTCPeerConnection, nonstandard } = createRequire(import.meta.url)('@roamhq/wrtc') as LibWebrtc;

const ends: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const noNetwork = localAddresses(false).includes('127.0.0.1');

/** A moving picture of this size, 30 times a second. */
function videoTrack(width: number, height: number): unknown {
  const source = new nonstandard.RTCVideoSource();
  const track = source.createTrack();
  const data = new Uint8ClampedArray((width * height * 3) / 2);
  let count = 0;
  const timer = setInterval(() => source.onFrame({ width, height, data: data.fill((count += 1) & 0xff) }), 33);
  ends.push(() => {
    clearInterval(timer);
    track.stop();
  });
  return track;
}

function open() {
  const peer = new RTCPeerConnection({ iceServers: [] });
  ends.push(() => peer.close());
  const describe = async (iceRestart = false) => {
    await peer.setLocalDescription(await peer.createOffer({ iceRestart }));
    await until(() => peer.iceGatheringState === 'complete', 'candidates');
    return peer.localDescription.sdp;
  };
  return { peer, describe };
}

it.skipIf(noNetwork)('libwebrtc connects, publishes and restarts ICE', async () => {
  const stack = new PeerStack(testRtcOptions({ interfaceAddresses: [] }));
  ends.push(() => stack.close());
  const units: AccessUnit[] = [];
  const states: string[] = [];
  const publisher = stack.createPublisher({
    onState: (state) => states.push(state),
    onAccessUnit: (unit) => units.push(unit),
    onVideoPacket: () => undefined,
    onAudioPacket: () => undefined,
    onDrop: () => undefined,
  });
  const { peer, describe } = open();
  peer.addTrack(videoTrack(160, 96));
  await peer.setRemoteDescription({ type: 'answer', sdp: await publisher.accept(await describe()) });
  await until(() => units.length > 20, 'pictures');
  await peer.setRemoteDescription({ type: 'answer', sdp: await publisher.restart(await describe(true)) });
  const before = units.length;
  await until(() => units.length > before + 60, 'pictures after the restart');
  expect(states).toEqual(['connected']);
  expect(units[0]).toMatchObject({ codec: 'VP8', keyframe: true });
});

it.skipIf(noNetwork)('libwebrtc with three video tracks renegotiates: frames reach the right tracks', async () => {
  /** By track, the sizes of its keyframes (RFC 6386 section 9.1) and how many frames came. */
  const received = new Map<string, { readonly sizes: Set<string>; frames: number }>();
  const drops: string[] = [];
  const publisher = new PublisherConnection(
    { rtc: testRtcOptions({ interfaceAddresses: [] }), maxVideoTracks: 8 },
    {
      onState: () => undefined,
      onAccessUnit: (unit, track) => {
        const of = received.get(track) ?? { sizes: new Set<string>(), frames: 0 };
        received.set(track, of);
        of.frames += 1;
        const size = (at: number) => ((unit.data[at + 1] as number) & 0x3f) * 256 + (unit.data[at] as number);
        if (unit.keyframe) of.sizes.add(`${size(6)}x${size(8)}`);
      },
      onVideoPacket: () => undefined,
      onAudioPacket: () => undefined,
      onDrop: (reason, _count, track) => drops.push(`${track} ${reason}`),
    },
    {
      onClosed: () => undefined,
      onListenerError: (error) => {
        throw error;
      },
      onPending: () => undefined,
    },
  );
  ends.push(() => publisher.close());
  const timer = setInterval(() => publisher.tick(monotonicUs()), 10);
  ends.push(() => clearInterval(timer));
  const { peer, describe } = open();
  const senders = [
    [160, 96],
    [176, 112],
    [192, 128],
  ].map(([width = 0, height = 0]) => peer.addTrack(videoTrack(width, height)));
  await peer.setRemoteDescription({ type: 'answer', sdp: await publisher.accept(await describe()) });
  const frames = (track: string) => received.get(track)?.frames ?? 0;
  await until(() => ['0', '1', '2'].every((track) => frames(track) > 10), 'frames of three tracks');

  peer
    .getTransceivers()
    .find(({ sender }) => sender === senders[1])
    ?.stop();
  peer.addTrack(videoTrack(208, 144));
  await peer.setRemoteDescription({ type: 'answer', sdp: await publisher.renegotiate(await describe()) });
  // What the stopped track had on its way has arrived when the new one's frames do.
  await until(() => frames('3') > 10, 'frames of the new track');
  const before = new Map([...received].map(([track, of]) => [track, of.frames]));
  await until(() => frames('3') > 20 && frames('0') > (before.get('0') ?? 0) + 10, 'more frames of the others');
  expect(frames('1')).toBe(before.get('1'));
  expect([...received].map(([track, { sizes }]) => [track, ...sizes]).sort()).toEqual([
    ['0', '160x96'],
    ['1', '176x112'],
    ['2', '192x128'],
    ['3', '208x144'],
  ]);
  expect(drops).toEqual([]);
});
