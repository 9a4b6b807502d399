import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type App } from '../server/app.ts';
import { loadConfig } from '../server/config/config.ts';
import { HAVE_ADDON } from '../testing/micro-flashvsr.ts';
import { createLog } from '../server/log.ts';
import { importOfficial } from '../server/models/import.ts';
import { encodeClip } from '../testing/clip.ts';
import { NodePublisher } from '../testing/peers/node-publisher.ts';
import { NodeViewer } from '../testing/peers/node-viewer.ts';
import { SignalingClient } from '../testing/peers/signaling-client.ts';

/**
 * FlashVSR through the whole path: official files (the golden ones, tiny) imported, WebRTC in, chunks through the engine
 * on the reference backend, WebRTC out. The camera is small and slow enough for a CPU.
 */
const WEIGHTS = new URL('../testdata/golden/weights', import.meta.url).pathname;
const FRAMES_PER_SECOND = 4;

describe.skipIf(!HAVE_ADDON)('FlashVSR live', () => {
  let folder: string;
  let app: App;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'flashvsr-live-'));
    await importOfficial({ from: WEIGHTS, name: 'golden', modelsFolder: folder, variant: 'v1.1' });
    const argv = ['--port', '0', '--model', join(folder, 'golden'), '--device', 'reference', '--log-level', 'silent'];
    const config = loadConfig({ argv });
    app = await startApp(config, createLog(config.log));
  }, 120_000);
  afterAll(async () => {
    await app.close();
    rmSync(folder, { recursive: true });
  });

  it(
    'upscales a broadcast in chunks, in order, with audio held back by the same delay',
    { timeout: 240_000 },
    async () => {
      const clip = await encodeClip({
        codec: 'VP8',
        width: 64,
        height: 48,
        framesPerSecond: FRAMES_PER_SECOND,
        seconds: 10,
      });
      const signaling = await SignalingClient.connect(app.url);
      const watching = await SignalingClient.connect(app.url);
      let audioPackets = 0;
      const viewer = new NodeViewer({ audio: true, onAudioPacket: () => (audioPackets += 1) });
      await viewer.start(async (offer) => (await watching.watch('tiny', offer)).sdp);
      const publisher = new NodePublisher({ clip, audio: true });
      let session = '';
      await publisher.start(async (offer) => {
        const reply = await signaling.publish('tiny', offer);
        session = reply.session;
        return reply.sdp;
      });
      // Two chunks and more: what comes after the cold start runs on the cache of what came before.
      await viewer.waitForFrames(24, 90_000);
      await expect
        .poll(() => signaling.stats.get(session)?.audio.delayMs ?? 0, { timeout: 30_000 })
        .toBeGreaterThan(500);
      expect(signaling.stats.get(session)).toMatchObject({
        source: { width: 64, height: 48 },
        output: { width: 256, height: 192 },
        model: { kind: 'flashvsr', superResolution: true },
      });
      const steps = viewer.frames
        .slice(1)
        .map((frame, index) => frame.timestamp - (viewer.frames[index]?.timestamp ?? 0));
      expect(Math.min(...steps)).toBeGreaterThan(0);
      expect(viewer.frames[0]?.keyframe).toBe(true);
      expect(audioPackets).toBeGreaterThan(50);

      await signaling.leave(session);
      await publisher.stop();
      await viewer.stop();
      signaling.close();
      watching.close();
    },
  );
});
