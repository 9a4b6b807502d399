import { describe, expect, it } from 'vitest';
import { containerOf, VIDEO_ENDINGS, type Container } from '../containers.ts';
import { chooseCodec } from '../file-encoder.ts';

const container = (ending: string): Container => {
  const found = containerOf(`x${ending}`);
  if (found === undefined) throw new Error(`no container for ${ending}`);
  return found;
};
const size = (width: number, height: number, framesPerSecond: number) => ({ width, height, framesPerSecond });

describe('the codec of a result', () => {
  it.each([
    ['.mp4', size(1920, 1080, 60), 'h264'],
    ['.mp4', size(4096, 2304, 56), 'h264'],
    ['.mkv', size(7680, 4320, 24), 'hevc'],
    ['.mp4', size(3840, 2160, 120), 'hevc'],
    ['.ts', size(7680, 4320, 24), 'hevc'],
    ['.webm', size(640, 360, 30), 'av1'],
  ])('%s of %o is %s', (ending, result, codec) => {
    const choice = chooseCodec(undefined, container(ending), ending, result);
    expect(choice.codec).toBe(codec);
    expect(choice.notice !== undefined).toBe(codec === 'hevc');
    if (codec === 'hevc') expect(choice.notice).toMatch(/above level 5\.2 of H264, so the result is HEVC \(--codec/);
  });

  it('says what H264 above level 5.2 means when it was asked for', () => {
    const choice = chooseCodec('h264', container('.mkv'), '.mkv', size(7680, 4320, 24));
    expect(choice).toMatchObject({
      codec: 'h264',
      notice: expect.stringMatching(/many players will not play it/) as string,
    });
  });

  it('refuses a codec that the container lacks, with those that it has', () => {
    expect(() => chooseCodec('hevc', container('.webm'), '.webm', size(64, 48, 25))).toThrow(
      /\.webm files hold no HEVC; use --codec av1/,
    );
  });

  it('recognises file endings in upper and lower case', () => {
    for (const ending of VIDEO_ENDINGS) expect(containerOf(`X${ending.toUpperCase()}`)).toBe(containerOf(`x${ending}`));
    for (const other of ['x', 'x.', 'x.png', 'mp4', 'x.mp4.yuv']) expect(containerOf(other)).toBeUndefined();
  });
});
