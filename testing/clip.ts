import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import ffmpeg from '@ffmpeg-installer/ffmpeg';
import { NAL_IDR } from '../server/media/h264-parameter-sets.ts';
import { NAL_AUD, splitAnnexB } from '../server/media/h264.ts';

/** Pre-encoded pictures for NodePublisher: encoded once by ffmpeg, sent as often as wanted without any encoder. */
export interface Clip {
  readonly codec: 'H264' | 'VP8';
  readonly framesPerSecond: number;
  /** H264: Annex B access units; VP8: bare frames. The first is a keyframe. */
  readonly frames: readonly { readonly data: Buffer; readonly keyframe: boolean }[];
}

export interface ClipOptions {
  readonly codec: 'H264' | 'VP8';
  /** A file ffmpeg reads, or left out: its moving test pattern. */
  readonly file?: string;
  readonly width?: number;
  readonly height?: number;
  readonly framesPerSecond?: number;
  readonly seconds?: number;
  readonly bitrateBps?: number;
  readonly keyframeEveryFrames?: number;
}

export async function encodeClip(options: ClipOptions): Promise<Clip> {
  const { codec, file, width = 320, height = 180, framesPerSecond = 30, seconds = 4 } = options;
  const { bitrateBps = 500_000, keyframeEveryFrames = framesPerSecond } = options;
  const folder = await mkdtemp(join(tmpdir(), 'clip-'));
  try {
    const output = join(folder, codec === 'H264' ? 'clip.h264' : 'clip.ivf');
    const size = `${width}x${height}`;
    const input =
      file === undefined
        ? ['-f', 'lavfi', '-i', `testsrc2=size=${size}:rate=${framesPerSecond}`]
        : ['-stream_loop', '-1', '-i', file];
    const rate = ['-b:v', String(bitrateBps), '-g', String(keyframeEveryFrames)];
    const encoder =
      codec === 'H264'
        ? [
            '-c:v',
            'libx264',
            '-preset',
            'veryfast',
            '-tune',
            'zerolatency',
            '-profile:v',
            'baseline',
            '-x264-params',
            'aud=1:scenecut=0',
          ]
        : ['-c:v', 'libvpx', '-deadline', 'realtime', '-cpu-used', '8', '-lag-in-frames', '0', '-auto-alt-ref', '0'];
    await promisify(execFile)(ffmpeg.path, [
      ...['-hide_banner', '-loglevel', 'error', ...input, '-an', '-t', String(seconds), '-r', String(framesPerSecond)],
      ...['-s', size, '-pix_fmt', 'yuv420p', ...encoder, ...rate, output],
    ]);
    const data = await readFile(output);
    return { codec, framesPerSecond, frames: codec === 'H264' ? splitAccessUnits(data) : splitIvf(data) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Cuts an Annex B stream at its access unit delimiters. */
export function splitAccessUnits(data: Buffer): Clip['frames'] {
  const units: { parts: Buffer[]; keyframe: boolean }[] = [];
  for (const nal of splitAnnexB(data)) {
    const type = (nal[0] as number) & 0x1f;
    if (type === NAL_AUD) {
      units.push({ parts: [], keyframe: false });
      continue;
    }
    const unit = units.at(-1);
    if (unit === undefined) continue;
    unit.parts.push(Buffer.from([0, 0, 0, 1]), Buffer.from(nal));
    if (type === NAL_IDR) unit.keyframe = true;
  }
  return units.map(({ parts, keyframe }) => ({ data: Buffer.concat(parts), keyframe }));
}

function splitIvf(data: Buffer): Clip['frames'] {
  const frames: { data: Buffer; keyframe: boolean }[] = [];
  for (let offset = data.readUInt16LE(6); offset + 12 <= data.length;) {
    const length = data.readUInt32LE(offset);
    const frame = data.subarray(offset + 12, offset + 12 + length);
    if (frame.length > 0) frames.push({ data: frame, keyframe: ((frame[0] as number) & 1) === 0 });
    offset += 12 + length;
  }
  return frames;
}
