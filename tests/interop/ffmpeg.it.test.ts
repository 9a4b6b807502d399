import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ffmpeg from '@ffmpeg-installer/ffmpeg';
import { Dictionary, FormatContext, Packet } from 'node-av/lib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { WhipFront } from '../../testing/whip-front.ts';

/** The WHIP muxer of FFmpeg (node-av bundles 8.1; its DTLS is OpenSSL's). As DTLS server it asks for no certificate of ours. */
describe('FFmpeg', () => {
  let folder: string;
  let clip: string;
  let front: WhipFront;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'whip-ffmpeg-'));
    clip = join(folder, 'clip.mkv');
    const video = ['-f', 'lavfi', '-i', 'testsrc=size=320x180:rate=30'];
    const audio = ['-f', 'lavfi', '-i', 'sine=frequency=440:sample_rate=48000'];
    const h264 = ['-pix_fmt', 'yuv420p', '-c:v', 'libx264', '-profile:v', 'baseline', '-g', '30', '-bf', '0'];
    const opus = ['-c:a', 'libopus', '-ac', '2'];
    execFileSync(ffmpeg.path, ['-v', 'error', ...video, ...audio, '-t', '3', ...h264, ...opus, clip]);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  beforeEach(async () => {
    front = await WhipFront.start();
  });
  afterEach(() => front.close());

  const succeed = (code: number): void => {
    if (code < 0) throw new Error(`libav returned ${code}`);
  };

  /** Sends the clip at its own pace. */
  async function publish(options: Record<string, string>): Promise<void> {
    const [input, output, packet] = [new FormatContext(), new FormatContext(), new Packet()];
    packet.alloc();
    succeed(await input.openInput(clip));
    succeed(await input.findStreamInfo(null));
    succeed(output.allocOutputContext2(null, 'whip', `${front.url}/whip`));
    for (const stream of input.streams) {
      const copy = output.newStream(null);
      stream.codecpar.copy(copy.codecpar);
      copy.timeBase = stream.timeBase;
    }
    succeed(await output.writeHeader(Dictionary.fromObject(options)));
    const startedMs = performance.now();
    while ((await input.readFrame(packet)) >= 0) {
      const from = input.streams[packet.streamIndex]?.timeBase;
      const to = output.streams[packet.streamIndex]?.timeBase;
      if (from === undefined || to === undefined) continue;
      const dueMs = (Number(packet.pts) * from.num * 1000) / from.den;
      const waitMs = dueMs - (performance.now() - startedMs);
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
      packet.rescaleTs(from, to);
      succeed(await output.writeFrame(packet));
      packet.unref();
    }
    succeed(await output.writeTrailer());
    output.freeContext();
    await input.closeInput();
    packet.free();
  }

  it.each([
    ['server', {}],
    ['client', { whip_flags: 'dtls_active' }],
  ])('as DTLS %s: connects and publishes every picture', async (_role, options) => {
    await publish(options);
    const [session] = front.sessions;
    expect(session?.userAgent).toContain('Lavf');
    await expect.poll(() => session?.pictures).toBeGreaterThanOrEqual(89);
    expect(session?.audioPackets).toBeGreaterThan(140);
    expect(front.errors).toEqual([]);
    await expect.poll(() => session?.peer.state).toBe('closed'); // it says goodbye, and DELETE
  });
});
