import { join } from 'node:path';
import { runFfmpeg } from './film.ts';
import { makeNumberedVideo, writeY4m, type NumberedVideo } from './numbered-video.ts';

export const PULL_CLIP = { width: 256, height: 144, framesPerSecond: 25, frames: 50 } as const;

/** Two seconds of numbered pictures in H264 with B-frames, a keyframe every 12, and a tone in AAC: what a camera or OBS sends. */
export async function makePullClip(folder: string): Promise<{ readonly file: string; readonly video: NumberedVideo }> {
  const clip = new URL('../testdata/clips/astronaut_320x180.mp4', import.meta.url).pathname;
  const { width, height, framesPerSecond, frames } = PULL_CLIP;
  const raw = join(folder, 'numbered.y4m');
  const numbered = makeNumberedVideo(clip, width, height, frames, framesPerSecond);
  writeY4m(numbered, raw);
  const file = join(folder, 'clip.mp4');
  const tone = ['-f', 'lavfi', '-i', 'sine=frequency=440:sample_rate=44100'];
  const video = ['-c:v', 'libx264', '-preset', 'veryfast', '-bf', '2', '-g', '12', '-b:v', '600k'];
  await runFfmpeg('-i', raw, ...tone, '-shortest', ...video, '-c:a', 'aac', '-ac', '2', '-t', '2', file);
  return { file, video: numbered };
}
