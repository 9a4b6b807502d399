/** What is sent: talking heads, movement, a dark and noisy room, a page of text. Each is a truth, and what a camera makes of it. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { noiseSource } from '../quality/camera.ts';
import { readVideo } from '../quality/codec.ts';
import { clampByte, type I420 } from '../quality/colour.ts';
import { scrolledPage } from './screen.ts';

export const FRAMES_PER_SECOND = 30;

export interface BitsClip {
  name: string;
  content: 'camera' | 'screen';
  /** What a person in front of the camera sees, at 30 frames/s: scores compare with it. */
  truth: readonly I420[];
  /** What the camera gives. */
  seen: readonly I420[];
}

export interface ClipKind {
  content: BitsClip['content'];
  about: string;
  /** Path in --data; absent: made by the program. */
  needs?: string;
  /** The largest goal that its truth has. */
  largestGoal: 720 | 1080;
  /** @param goal 720 or 1080: lines of the truth. @param frames at least 2 */
  make(data: string, goal: number, frames: number): Promise<BitsClip['truth'] | Pick<BitsClip, 'truth' | 'seen'>>;
}

const widthOf = (goal: number): number => Math.round((goal * 16) / 9);

/** Frames there and back again, so that a short clip moves on without a cut. @param distinct frames of the file */
export function thereAndBack(frames: readonly I420[], count: number): I420[] {
  const period = Math.max(1, 2 * frames.length - 2);
  return Array.from({ length: count }, (_, t) => {
    const at = t % period;
    return frames[at < frames.length ? at : period - at] as I420;
  });
}

const fromFile = (about: string, needs: string, from: number, distinct: number, largestGoal: 720 | 1080): ClipKind => ({
  content: 'camera',
  about,
  needs,
  largestGoal,
  async make(data, goal, frames) {
    const count = Math.min(distinct, frames);
    return thereAndBack(readVideo(join(data, needs), widthOf(goal), goal, from, count), frames);
  },
});

/** A third of the light, and noise of a sensor that is set to see in it: of the picture sent, not of the truth. */
export function inTheDark(frame: I420, noise: () => number): { truth: I420; seen: I420 } {
  const { width, height, data } = frame;
  const luma = width * height;
  const truth = data.map((value, i) =>
    i < luma ? clampByte(16 + (value - 16) * 0.35) : clampByte(128 + (value - 128) / 2),
  );
  const seen = truth.map((value, i) => clampByte(value + noise() * (i < luma ? 4 : 2)));
  return { truth: { width, height, data: truth }, seen: { width, height, data: seen } };
}

const TALKING = 'webcam/maxine_vfx/input_100_200_frames.mp4';

function darkRoom(): ClipKind {
  const bright = fromFile('', TALKING, 0, 60, 1080);
  return {
    ...bright,
    about: 'the same head in a dark room, noise of 4 grey levels',
    async make(data, goal, frames) {
      const noise = noiseSource(1);
      const made = ((await bright.make(data, goal, 60)) as I420[]).map((frame) => inTheDark(frame, noise));
      const [truth, seen] = [made.map((one) => one.truth), made.map((one) => one.seen)];
      return { truth: thereAndBack(truth, frames), seen: thereAndBack(seen, frames) };
    },
  };
}

const TEXTS = { page: 'docs/glossary.md', code: 'server/errors.ts' };

const drawn = (about: string, file: string, columns: number): ClipKind => ({
  content: 'screen',
  about,
  largestGoal: 1080,
  async make(_data, goal, frames) {
    const text = readFileSync(fileURLToPath(new URL(`../../${file}`, import.meta.url)), 'utf8');
    return scrolledPage({ text, columns, width: widthOf(goal), height: goal, frames });
  },
});

const ASTRONAUT = fileURLToPath(new URL('../../testdata/clips/astronaut_320x180.mp4', import.meta.url));

/** `head-b`, `table` and `code` are for judging a table that the others made. */
export const CLIPS: Readonly<Record<string, ClipKind>> = {
  head: fromFile('a talking head, sharp', 'webcam/maxine_vfx/input_0_100_frames.mp4', 0, 100, 1080),
  juggle: fromFile(
    'a person juggling: gestures and movement',
    'train/video/sam2_gallery/05_default_juggle.mp4',
    60,
    100,
    720,
  ),
  dark: darkRoom(),
  page: drawn('a page of text that stands, scrolls, stands', TEXTS.page, 100),
  'head-b': fromFile('the same person, other gestures', TALKING, 0, 100, 1080),
  woman: fromFile('a woman at a webcam', 'webcam/nim_eye_contact/sample_streamable.mp4', 0, 100, 720),
  cups: fromFile('hands that move cups', 'train/video/sam2_gallery/02_cups.mp4', 0, 100, 720),
  code: drawn('source code that scrolls', TEXTS.code, 140),
  sway: {
    content: 'camera',
    about: 'a portrait that sways, soft: the only clip of a camera that needs no --data',
    largestGoal: 720,
    async make(_data, goal, frames) {
      return thereAndBack(readVideo(ASTRONAUT, widthOf(goal), goal, 0, Math.min(frames, 180)), frames);
    },
  },
};

export const missingClip = (data: string, { needs }: ClipKind): boolean =>
  needs !== undefined && (data === '' || !existsSync(join(data, needs)));

/** @throws Error when the file is not there, or shorter */
export async function makeClip(name: string, data: string, goal: number, frames: number): Promise<BitsClip> {
  const kind = CLIPS[name];
  if (kind === undefined) throw new Error(`there is no clip ${name}`);
  const made = await kind.make(data, goal, frames);
  const { truth, seen } = 'truth' in made ? made : { truth: made, seen: made };
  return { name, content: kind.content, truth, seen };
}
