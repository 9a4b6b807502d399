import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type App } from '../server/app.ts';
import { loadConfig } from '../server/config/config.ts';
import { createLog } from '../server/log.ts';
import { encodeClip, type Clip } from '../testing/clip.ts';
import { NodePublisher, type NodePublisherOptions } from '../testing/peers/node-publisher.ts';
import { NodeViewer, type NodeViewerOptions } from '../testing/peers/node-viewer.ts';
import { SignalingClient } from '../testing/peers/signaling-client.ts';

/** The whole server in this process, real WebRTC over loopback, pipelines in worker threads, `resize` as the model. */
const CLIP = new URL('../testdata/clips/astronaut_320x180.mp4', import.meta.url).pathname;

let app: App;
let h264: Clip;
let vp8: Clip;
const cleanup: (() => unknown)[] = [];

beforeAll(async () => {
  const config = loadConfig({
    // A lost packet has a second to come again: on a busy machine a retransmission takes longer than the default. And the result
    // never grows: two seconds of a larger source last longer than the three that it would take.
    argv: [
      ...['--port', '0', '--model', 'resize', '--log-level', 'silent'],
      ...['--limits.maxBroadcasts', '3', '--media.jitterMs', '1000', '--media.growAfterMs', '0'],
    ],
  });
  app = await startApp(config, createLog(config.log));
  h264 = await encodeClip({ codec: 'H264', file: CLIP, seconds: 3, bitrateBps: 300_000 });
  vp8 = await encodeClip({ codec: 'VP8', file: CLIP, seconds: 3, bitrateBps: 300_000 });
});
// Leaves on purpose, so that names and slots are free for the next test.
afterEach(async () => {
  for (const close of cleanup.splice(0).reverse()) await close();
});
afterAll(() => app.close());

async function client(): Promise<SignalingClient> {
  const made = await SignalingClient.connect(app.url);
  cleanup.push(() => made.close());
  return made;
}

async function publish(name: string, options: NodePublisherOptions, resumeToken?: string) {
  const signaling = await client();
  const publisher = new NodePublisher(options);
  cleanup.push(() => publisher.stop());
  let reply = { session: '', resumeToken: '' };
  await publisher.start(async (offer) => {
    const published = await signaling.publish(name, offer, resumeToken);
    reply = published;
    return published.sdp;
  });
  cleanup.push(() => signaling.leave(reply.session).catch(() => undefined));
  return { publisher, signaling, ...reply };
}

async function watch(name: string, options: NodeViewerOptions = {}) {
  const signaling = await client();
  const viewer = new NodeViewer(options);
  cleanup.push(() => viewer.stop());
  let session = '';
  await viewer.start(async (offer) => {
    const reply = await signaling.watch(name, offer);
    session = reply.session;
    return reply.sdp;
  });
  return { viewer, signaling, session };
}

describe('the main path', () => {
  it.each([
    ['H264', 'H264'],
    ['VP8', 'VP8'],
    ['VP8', 'H264'],
    ['H264', 'VP8'],
  ] as const)('%s in, %s out: frames come back four times as large, in order, without loss', async (input, output) => {
    const name = `path-${input}-${output}`;
    const { signaling, session } = await publish(name, { clip: input === 'H264' ? h264 : vp8 });
    const { viewer } = await watch(name, { codecs: [output] });
    await viewer.waitForFrames(45);
    expect(viewer.frames[0]).toMatchObject({ keyframe: true, codec: output });
    const steps = viewer.frames
      .slice(1)
      .map((frame, index) => frame.timestamp - (viewer.frames[index]?.timestamp ?? 0));
    expect(Math.min(...steps)).toBeGreaterThan(0);
    await expect
      .poll(() => signaling.stats.get(session), { timeout: 20_000 })
      .toMatchObject({
        source: { width: 320, height: 180, codec: input },
        output: { width: 1280, height: 720, codec: output },
      });
  });

  it('lets a viewer come before the publisher', async () => {
    const { viewer, signaling, session } = await watch('early');
    await publish('early', { clip: h264 });
    await viewer.waitForFrames(10);
    expect(signaling.states.filter((push) => push.session === session).map(({ state }) => state)).toEqual(['live']);
  });

  it('goes on for the viewers when the publisher’s socket and peer die and it comes back with its token', async () => {
    const first = await publish('phoenix', { clip: vp8 });
    const { viewer } = await watch('phoenix');
    await viewer.waitForFrames(15);
    first.signaling.terminate();
    await first.publisher.stop();
    await expect(publish('phoenix', { clip: vp8 })).rejects.toThrow('broadcast.nameTaken');
    const count = viewer.getStats().frames;
    await publish('phoenix', { clip: h264 }, first.resumeToken);
    await viewer.waitForFrames(count + 30);
    const times = viewer.frames.map(({ timestamp }) => timestamp);
    expect(times.every((time, index) => index === 0 || time > (times[index - 1] ?? 0))).toBe(true);
  });

  it('follows a change of resolution in mid-stream: same output size for the same aspect', async () => {
    const small = await encodeClip({ codec: 'VP8', file: CLIP, width: 320, height: 180, seconds: 2 });
    const large = await encodeClip({ codec: 'VP8', file: CLIP, width: 480, height: 270, seconds: 2 });
    const clip: Clip = { ...small, frames: [...small.frames, ...large.frames] };
    const { signaling, session } = await publish('resize', { clip });
    const { viewer } = await watch('resize');
    await viewer.waitForFrames(130, 45_000);
    expect(signaling.stats.get(session)?.output).toMatchObject({ width: 1280, height: 720 });
    expect(viewer.getStats().framesDropped).toBe(0);
  });

  it('recovers from 2 % loss on the way in by retransmission', async () => {
    const incomplete = async () =>
      Number(/frames_dropped_total\{reason="incomplete"\} (\d+)/.exec(await app.metrics.text())?.[1] ?? 0);
    const before = await incomplete();
    const { publisher } = await publish('lossy', {
      clip: h264,
      dropPacket: (sequence) => (sequence % 50 === 7 ? 'lost' : undefined),
    });
    const { viewer } = await watch('lossy');
    await viewer.waitForFrames(150, 45_000);
    expect(publisher.getStats().retransmitted).toBeGreaterThan(0);
    // Nothing was lost for good; what a busy machine leaves out has other reasons.
    expect(await incomplete()).toBe(before);
  });
});

describe('bad input', () => {
  it('garbage instead of H264 harms no other broadcast, is counted, and a good publisher may follow', async () => {
    await publish('good', { clip: vp8 });
    const { viewer } = await watch('good');
    await viewer.waitForFrames(5);
    const noise = Buffer.from(Array.from({ length: 900 }, (_, index) => (index * 7919) & 0xff));
    const garbage: Clip = {
      codec: 'H264',
      framesPerSecond: 30,
      frames: Array.from({ length: 30 }, () => ({
        data: Buffer.concat([Buffer.from([0, 0, 0, 1, 0x65]), noise]),
        keyframe: true,
      })),
    };
    await publish('bad', { clip: garbage });
    const seen = viewer.getStats().frames;
    await viewer.waitForFrames(seen + 60);
    await expect
      .poll(() => app.metrics.text(), { timeout: 20_000 })
      .toMatch(/flashvsr_frames_dropped_total\{reason="(decode-error|awaiting-keyframe)"\} [1-9]/);
  });

  it('an offer that is not SDP is refused and leaves nothing behind', async () => {
    const signaling = await client();
    await expect(signaling.publish('nonsense', 'v=0\r\nnonsense')).rejects.toThrow(/sdp\./);
    await expect(signaling.watch('nonsense', 'hello')).rejects.toThrow(/sdp\./);
    expect(app.registry.list().broadcasts.map(({ name }) => name)).not.toContain('nonsense');
  });

  it('a broadcast beyond capacity is refused with server.full', async () => {
    for (const name of ['full-1', 'full-2', 'full-3']) await publish(name, { clip: vp8 });
    await expect(publish('full-4', { clip: vp8 })).rejects.toThrow('server.full');
  });
});
