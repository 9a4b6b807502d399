import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ffmpeg from '@ffmpeg-installer/ffmpeg';
import { Dictionary, FormatContext, Packet } from 'node-av/lib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WhipServer } from '../../testing/whip-server.ts';

/** The WHIP muxer of FFmpeg (node-av bundles 8.1; its DTLS is OpenSSL's). As DTLS server it asks for no certificate of ours. Encoded as the command in docs/clients.md says. */
describe('FFmpeg', () => {
  let folder: string;
  let clip: string;
  let server: WhipServer;

  beforeAll(async () => {
    server = await WhipServer.start();
    folder = mkdtempSync(join(tmpdir(), 'whip-ffmpeg-'));
    clip = join(folder, 'clip.mkv');
    const video = ['-f', 'lavfi', '-i', 'testsrc=size=320x180:rate=30'];
    const audio = ['-f', 'lavfi', '-i', 'sine=frequency=440:sample_rate=48000'];
    // As the documentation and the page write it, up to the muxer, which this ffmpeg is too old for.
    const documentation = readFileSync(new URL('../../docs/clients.md', import.meta.url), 'utf8');
    const [, encoding = ''] = /ffmpeg -re -i INPUT\.mp4 (.*) -f whip/.exec(documentation) ?? [];
    execFileSync(ffmpeg.path, ['-v', 'error', ...video, ...audio, '-t', '3', ...encoding.split(' '), clip]);
  });
  afterAll(async () => {
    rmSync(folder, { recursive: true, force: true });
    await server.close();
  });

  const succeed = (code: number): void => {
    if (code < 0) throw new Error(`libav returned ${code}`);
  };

  /** Sends the clip at its own pace. @param look while the session is still there */
  async function publish(name: string, options: Record<string, string>, look: () => Promise<void>): Promise<void> {
    const [input, output, packet] = [new FormatContext(), new FormatContext(), new Packet()];
    packet.alloc();
    succeed(await input.openInput(clip));
    succeed(await input.findStreamInfo(null));
    succeed(output.allocOutputContext2(null, 'whip', `${server.url}/whip/${name}`));
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
    await look();
    succeed(await output.writeTrailer());
    output.freeContext();
    await input.closeInput();
    packet.free();
  }

  it.each([
    ['server', {}],
    ['client', { whip_flags: 'dtls_active' }],
  ])('as DTLS %s: connects and publishes every picture, with audio', async (role, options) => {
    const before = await server.pictures();
    await publish(role, { ...options, authorization: 'secret-of-ffmpeg' }, async () => {
      await expect.poll(() => server.pictures(), { timeout: 10_000 }).toBeGreaterThanOrEqual(before + 89);
      await expect
        .poll(() => server.stats(role), { timeout: 10_000 })
        .toMatchObject({ source: { width: 320, height: 180, codec: 'H264' }, audio: { present: true } });
    });
    expect(await server.errors('peer.handshake')).toBe(0);
    // Its DELETE carries the token; the name is free at once.
    await expect.poll(() => server.app.registry.get(role), { timeout: 10_000 }).toBeUndefined();
  });
});
