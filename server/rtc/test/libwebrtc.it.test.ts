import { createRequire } from 'node:module';
import { afterEach, expect, it } from 'vitest';
import { testRtcOptions } from '../../../testing/rtc-options.ts';
import type { AccessUnit } from '../../media/types.ts';
import { localAddresses } from '../ice/candidates.ts';
import { WeriftStack } from '../werift-stack.ts';

/** libwebrtc itself (@roamhq/wrtc) as publisher; it uses no loopback interface, so the server listens on all. */

interface Description {
  readonly type: string;
  readonly sdp: string;
}
/** What is used of the package, which has no types. */
interface LibWebrtc {
  readonly RTCPeerConnection: new (options: object) => {
    addTrack(track: unknown): void;
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

async function until(what: string, probe: () => boolean, withinMs = 15_000): Promise<void> {
  const end = performance.now() + withinMs;
  while (!probe()) {
    if (performance.now() > end) throw new Error(`${what}: not within ${withinMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

it.skipIf(localAddresses(false).includes('127.0.0.1'))('libwebrtc connects, publishes and restarts ICE', async () => {
  const stack = new WeriftStack(testRtcOptions({ interfaceAddresses: [] }));
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
  const peer = new RTCPeerConnection({ iceServers: [] });
  ends.push(() => peer.close());
  const source = new nonstandard.RTCVideoSource();
  const track = source.createTrack();
  ends.push(() => track.stop());
  peer.addTrack(track);
  const [width, height] = [160, 96];
  const data = new Uint8ClampedArray((width * height * 3) / 2);
  let count = 0;
  const timer = setInterval(() => source.onFrame({ width, height, data: data.fill((count += 1) & 0xff) }), 33);
  ends.push(() => clearInterval(timer));
  const describe = async (iceRestart: boolean) => {
    await peer.setLocalDescription(await peer.createOffer({ iceRestart }));
    await until('candidates', () => peer.iceGatheringState === 'complete');
    return peer.localDescription.sdp;
  };

  await peer.setRemoteDescription({ type: 'answer', sdp: await publisher.accept(await describe(false)) });
  await until('pictures', () => units.length > 20);
  await peer.setRemoteDescription({ type: 'answer', sdp: await publisher.restart(await describe(true)) });
  const before = units.length;
  await until('pictures after the restart', () => units.length > before + 60);
  expect(states).toEqual(['connected']);
  expect(units[0]).toMatchObject({ codec: 'VP8', keyframe: true });
});
