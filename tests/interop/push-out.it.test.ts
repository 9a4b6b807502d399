import { createRequire } from 'node:module';
import { cleanup as cleanUpLibdatachannel, PeerConnection, RtcpReceivingSession } from 'node-datachannel';
import { afterAll, afterEach, expect, it } from 'vitest';
import { packetize } from '../../server/media/packetizer.ts';
import { traceAt } from '../../server/media/steps.ts';
import type { EncodedFrame, ResultCodec } from '../../server/media/types.ts';
import { localAddresses } from '../../server/rtc/ice/candidates.ts';
import { PeerStack } from '../../server/rtc/peer-stack.ts';
import type { TargetPeer } from '../../server/rtc/peers.ts';
import { makeStream, movingBar } from '../../testing/pictures.ts';
import { testRtcOptions } from '../../testing/rtc-options.ts';
import { until } from '../../testing/until.ts';

/** Our offer answered by other people's WebRTC: libdatachannel on loopback, and libwebrtc, which decodes. */

interface Description {
  readonly type: string;
  readonly sdp: string;
}
interface I420Frame {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}
/** What is used of @roamhq/wrtc, which has no types. */
interface LibWebrtc {
  readonly RTCPeerConnection: new (options: object) => {
    ontrack: (event: { readonly track: { readonly kind: string } }) => void;
    createAnswer(): Promise<Description>;
    setLocalDescription(description: Description): Promise<void>;
    setRemoteDescription(description: Description): Promise<void>;
    close(): void;
    readonly localDescription: Description;
    readonly iceGatheringState: string;
    readonly connectionState: string;
  };
  readonly nonstandard: {
    readonly RTCVideoSink: new (track: object) => {
      onframe: (event: { readonly frame: I420Frame }) => void;
      stop(): void;
    };
  };
}
const { RTCPeerConnection, nonstandard } = createRequire(import.meta.url)('@roamhq/wrtc') as LibWebrtc;

const [WIDTH, HEIGHT, PICTURES] = [320, 180, 50];
let stack: PeerStack;
let peer: TargetPeer;
const ends: (() => unknown)[] = [];

function open(interfaceAddresses: readonly string[]): void {
  stack = new PeerStack(testRtcOptions({ interfaceAddresses: [...interfaceAddresses] }));
  ends.push(() => stack.close());
  peer = stack.createTarget(
    { onState: () => undefined, onKeyframeRequest: () => undefined },
    { maxOutput: { width: WIDTH, height: HEIGHT }, allowsAddress: () => true, connectWithinMs: 30_000 },
  );
}

/** One picture each 33 ms, again from the first after the last; the sound beside it. */
function play(codec: ResultCodec): void {
  const stream = makeStream({ codec, width: WIDTH, height: HEIGHT, frames: PICTURES, bitrateBps: 1_500_000 });
  let count = 0;
  const timer = setInterval(() => {
    const unit = stream[count % PICTURES];
    if (unit === undefined) return;
    const { data, keyframe } = unit;
    const frame: EncodedFrame = {
      ...{ codec, data, keyframe, rendition: 'full', width: WIDTH, height: HEIGHT, trace: traceAt(0, 0) },
      mediaTime: count * 3000,
    };
    peer.sendResult(packetize(frame));
    const times = { timestamp: count * 960, mediaTime: count * 1800, sequence: count, receivedAtUs: 0 };
    peer.sendAudio({ stream: 1, marker: true, payload: Buffer.from([0xfc, 0xff, 0xfe]), ...times });
    count += 1;
  }, 33);
  ends.push(() => clearInterval(timer));
}

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});
afterAll(() => cleanUpLibdatachannel());

it('libdatachannel answers and receives pictures and sound; its end is noticed at once', async () => {
  open(['127.0.0.1']);
  const far = new PeerConnection('far', { iceServers: [], bindAddress: '127.0.0.1' });
  ends.push(() => far.close());
  const packets: Record<string, number> = {};
  far.onTrack((track) => {
    track.setMediaHandler(new RtcpReceivingSession());
    track.onMessage(() => (packets[track.type()] = (packets[track.type()] ?? 0) + 1));
  });
  const complete = new Promise<void>((resolve) => {
    far.onGatheringStateChange((state) => {
      if (state === 'complete') resolve();
    });
  });
  far.setRemoteDescription(await peer.offer({ track: 'result', codecs: ['H264', 'VP8'] }), 'offer');
  await complete;
  await peer.acceptAnswer(far.localDescription()?.sdp ?? '');
  expect(peer.resultCodec).toBe('H264');
  await until(() => peer.state === 'connected' && far.state() === 'connected', 'both sides');
  play('H264');
  await until(() => (packets['video'] ?? 0) > 50 && (packets['audio'] ?? 0) > 50, 'its packets');
  far.close();
  await until(() => peer.state === 'closed', 'the end');
});

it.skipIf(localAddresses(false).includes('127.0.0.1'))('libwebrtc answers and decodes the pictures', async () => {
  open([]);
  const far = new RTCPeerConnection({ iceServers: [] });
  ends.push(() => far.close());
  const kinds: string[] = [];
  const seen: { readonly number: number; readonly dB: number }[] = [];
  far.ontrack = ({ track }) => {
    kinds.push(track.kind);
    if (track.kind !== 'video') return;
    const sink = new nonstandard.RTCVideoSink(track);
    ends.push(() => sink.stop());
    sink.onframe = ({ frame }) => void seen.push(likest(frame));
  };
  await far.setRemoteDescription({
    type: 'offer',
    sdp: await peer.offer({ track: 'result', codecs: ['H264', 'VP8'] }),
  });
  await far.setLocalDescription(await far.createAnswer());
  await until(() => far.iceGatheringState === 'complete', 'candidates');
  await peer.acceptAnswer(far.localDescription.sdp);
  expect(peer.resultCodec, 'it has no H264').toBe('VP8');
  await until(() => peer.state === 'connected' && far.connectionState === 'connected', 'both sides');
  play('VP8');
  await until(() => seen.length > 60, 'pictures');
  expect(kinds.sort()).toEqual(['audio', 'video']);
  expect(Math.min(...seen.map(({ dB }) => dB))).toBeGreaterThan(25);
  // In order; a busy machine shows fewer.
  const forward = seen.slice(1).filter(({ number }, index) => number > (seen[index]?.number ?? 0)).length;
  expect(forward).toBeGreaterThan((seen.length - 1) * 0.9);
  await until(() => peer.getStats().reportedAtUs !== undefined, 'its receiver report');
});

/** Which picture of the stream a decoded one is, and how well. */
function likest({ width, height, data }: I420Frame): { readonly number: number; readonly dB: number } {
  const error = (number: number, step: number): number => {
    const paint = movingBar(number, WIDTH);
    let [sum, samples] = [0, 0];
    for (let y = step >> 1; y < height; y += step) {
      for (let x = 0; x < width; x += 1, samples += 1) sum += ((data[y * width + x] ?? 0) - paint(x, y)) ** 2;
    }
    return sum / samples;
  };
  const errors = Array.from({ length: PICTURES }, (_, number) => error(number, height));
  const number = errors.indexOf(Math.min(...errors));
  return { number, dB: 10 * Math.log10(255 ** 2 / error(number, 4)) };
}
