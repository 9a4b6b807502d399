/** Raw video in and out of ffmpeg, and the compression that a call's low-resolution pictures go through. */
import ffmpegInstaller from '@ffmpeg-installer/ffmpeg';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { halfSize, type I420, type Rgb } from './colour.ts';
import { readPng } from './png.ts';

const FRAMES_PER_SECOND = 30;

export interface Compression {
  codec: 'h264' | 'vp8';
  kbps: number;
}

/** @throws when ffmpeg fails, with its words */
function ffmpeg(args: string[], input?: Uint8Array): Buffer {
  const { status, stdout, stderr, error } = spawnSync(ffmpegInstaller.path, ['-v', 'error', '-y', ...args], {
    input,
    maxBuffer: 2 ** 31,
  });
  if (status !== 0) throw new Error(`ffmpeg ${args.join(' ')} failed: ${error?.message ?? stderr.toString().trim()}`);
  return stdout;
}

const RAW = ['-f', 'rawvideo', '-pix_fmt', 'yuv420p'];

function splitFrames(raw: Buffer, width: number, height: number): I420[] {
  const bytes = width * height + 2 * halfSize(width) * halfSize(height);
  return Array.from({ length: Math.floor(raw.length / bytes) }, (_, t) => ({
    width,
    height,
    data: new Uint8Array(raw.subarray(t * bytes, (t + 1) * bytes)),
  }));
}

/** Frames [from, from + count) of a file. @throws when it has fewer */
export function readVideo(file: string, width: number, height: number, from: number, count: number): I420[] {
  const select = `select=between(n\\,${from}\\,${from + count - 1}),scale=${width}:${height}`;
  const frames = splitFrames(ffmpeg(['-i', file, '-vf', select, '-vsync', '0', ...RAW, '-']), width, height);
  if (frames.length !== count) throw new Error(`${file}: wanted ${count} frames from ${from} on, got ${frames.length}`);
  return frames;
}

/** A picture of any kind that FFmpeg reads. */
export const readPicture = (file: string): Rgb =>
  readPng(ffmpeg(['-i', file, '-frames:v', '1', '-f', 'image2pipe', '-c:v', 'png', '-pix_fmt', 'rgb24', '-']));

/**
 * x264 and libvpx set as for a call: no look-ahead, no B-frames, baseline profile, one key frame, constant bit rate with half a
 * second of buffer. One thread, so the same bits come out on every machine.
 */
const ENCODERS: Record<Compression['codec'], string> = {
  h264: '-c:v libx264 -preset veryfast -tune zerolatency -profile:v baseline',
  vp8: '-c:v libvpx -deadline realtime -cpu-used 8 -lag-in-frames 0 -error-resilient 1 -qmin 2 -qmax 60',
};

/** Encodes and decodes; `kbps` of the result is what the stream really took. */
export function compress(frames: I420[], { codec, kbps }: Compression): { frames: I420[]; kbps: number } {
  const [first] = frames;
  if (!first) return { frames: [], kbps: 0 };
  const { width, height } = first;
  const folder = mkdtempSync(join(tmpdir(), 'quality-'));
  try {
    const file = join(folder, codec === 'h264' ? 'stream.h264' : 'stream.ivf');
    const source = [...RAW, '-s', `${width}x${height}`, '-r', String(FRAMES_PER_SECOND), '-i', '-'];
    const rate = `-threads 1 -g 3000 -b:v ${kbps}k -maxrate ${kbps}k -bufsize ${kbps / 2}k`;
    const settings = `${rate} ${ENCODERS[codec]}`.split(' ');
    ffmpeg([...source, ...settings, file], Buffer.concat(frames.map((frame) => frame.data)));
    const decoded = splitFrames(ffmpeg(['-i', file, '-vsync', '0', ...RAW, '-']), width, height);
    if (decoded.length !== frames.length)
      throw new Error(`${codec} at ${kbps} kbit/s gave ${decoded.length} of ${frames.length} frames`);
    return { frames: decoded, kbps: (statSync(file).size * 8 * FRAMES_PER_SECOND) / frames.length / 1000 };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
