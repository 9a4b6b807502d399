import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import ffmpeg from '@ffmpeg-installer/ffmpeg';

/**
 * Video whose every frame carries its own number in big blocks, so that a viewer can read back from its screen which
 * frame it sees, after any codec and any scaling. The picture under the blocks is the sample clip, so that content can be
 * compared too.
 */
export interface NumberedVideo {
  readonly width: number;
  readonly height: number;
  readonly framesPerSecond: number;
  /** Planar 4:2:0 frames, numbered from 0. */
  readonly frames: readonly Uint8Array[];
}

const NUMBER_BITS = 12;
const CHECK_BITS = 4;
const BLOCKS = NUMBER_BITS + CHECK_BITS;
/** The blocks stand in one row over the picture's width; their height as a share of the picture's. */
const ROW_SHARE = 1 / 9;
const DARK = 40;
const BRIGHT = 215;

/** Four check bits, so that a torn or blended frame is not taken for another number. */
function checkBits(number: number): number {
  return (number ^ (number >> 4) ^ (number >> 8) ^ 0b1010) & 0b1111;
}

function stamp(frame: Uint8Array, width: number, height: number, number: number): void {
  const value = (number << CHECK_BITS) | checkBits(number);
  const rows = Math.floor(height * ROW_SHARE);
  for (let x = 0; x < width; x += 1) {
    const block = Math.floor((x * BLOCKS) / width);
    const luma = (value >> (BLOCKS - 1 - block)) & 1 ? BRIGHT : DARK;
    for (let y = 0; y < rows; y += 1) frame[y * width + x] = luma;
  }
  const chromaWidth = (width + 1) >> 1;
  const chromaHeight = (height + 1) >> 1;
  const chromaRows = Math.ceil(rows / 2);
  for (const plane of [0, 1]) {
    const start = width * height + plane * chromaWidth * chromaHeight;
    frame.fill(128, start, start + chromaRows * chromaWidth);
  }
}

/**
 * Reads the number back. Runs in the page as well as in Node, so it uses nothing from this module: the page gets it by
 * `toString()`.
 * @param luma value 0..255 of the pixel at (x, y), each as a share 0..1 of the picture
 * @returns the number, or -1 when the check bits do not fit
 */
export function readNumber(luma: (x: number, y: number) => number): number {
  let value = 0;
  for (let block = 0; block < 16; block += 1) value = value * 2 + (luma((block + 0.5) / 16, 0.055) > 127 ? 1 : 0);
  const number = value >> 4;
  const check = (number ^ (number >> 4) ^ (number >> 8) ^ 0b1010) & 0b1111;
  return check === (value & 0b1111) ? number : -1;
}

/** Decodes a clip, scales it to the size and numbers as many frames as asked for, playing it forwards and backwards. */
export function makeNumberedVideo(
  clip: string,
  width: number,
  height: number,
  count: number,
  framesPerSecond = 30,
): NumberedVideo {
  const filter = `scale=${width}:${height}:flags=bicubic,format=yuv420p`;
  const run = spawnSync(ffmpeg.path, ['-v', 'error', '-i', clip, '-vf', filter, '-f', 'rawvideo', '-'], {
    maxBuffer: 1 << 30,
  });
  if (run.status !== 0) throw new Error(`ffmpeg failed on ${clip}: ${run.stderr.toString()}`);
  const size = width * height + 2 * ((width + 1) >> 1) * ((height + 1) >> 1);
  const clipFrames = Math.floor(run.stdout.length / size);
  const frames = Array.from({ length: count }, (_, number) => {
    const phase = number % (2 * clipFrames);
    const index = phase < clipFrames ? phase : 2 * clipFrames - 1 - phase;
    const frame = Uint8Array.prototype.slice.call(run.stdout, index * size, (index + 1) * size);
    stamp(frame, width, height, number);
    return frame;
  });
  return { width, height, framesPerSecond, frames };
}

/** Writes YUV4MPEG2, which Chromium takes as a camera by --use-file-for-fake-video-capture (it loops at the end). */
export function writeY4m(video: NumberedVideo, path: string): void {
  const header = Buffer.from(
    `YUV4MPEG2 W${video.width} H${video.height} F${video.framesPerSecond}:1 Ip A1:1 C420mpeg2\n`,
  );
  const marker = Buffer.from('FRAME\n');
  writeFileSync(path, Buffer.concat([header, ...video.frames.flatMap((frame) => [marker, frame])]));
}
