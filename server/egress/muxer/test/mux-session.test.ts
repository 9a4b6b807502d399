import { beforeEach, expect, it } from 'vitest';
import { LONGEST_SILENCE_SECONDS } from '../../../codec/tracks/sound-converter.ts';
import { AUDIO_CLOCK_HZ, VIDEO_CLOCK_HZ } from '../../../media/types.ts';
import type { ContainerWriter } from '../container-writer.ts';
import type { MediaItem } from '../messages.ts';
import { MuxSession } from '../mux-session.ts';

/** What a publisher's clocks may cost the process that muxes, without a container. */

/** CELT, 20 ms, one frame (RFC 6716 table 2). */
const OPUS = Uint8Array.of(31 << 3);
const PACKET_SECONDS = 0.02;

let opened: number;
/** When each packet of sound plays, seconds. */
let written: number[];
let nowSeconds: number;
let mux: MuxSession;

beforeEach(() => {
  [opened, written, nowSeconds] = [0, [], 0];
  const writer = {
    ...{ bytes: 0, hasAudio: true, writeVideo: () => undefined },
    writeAudio: (_data: Uint8Array, pts: number) => void written.push(pts / AUDIO_CLOCK_HZ),
  } as unknown as ContainerWriter;
  mux = new MuxSession(
    {
      ...{ fixedParameters: true, keyframeTicks: Infinity, full: () => false, check: () => undefined },
      open: () => {
        opened += 1;
        return writer;
      },
    },
    { onRunning: () => undefined, onNeedKeyframe: () => undefined },
    () => nowSeconds * 1e6,
  );
});

const picture = (ticks: number): MediaItem => ({
  ...{ type: 'video', codec: 'VP8', data: new Uint8Array(1), size: { width: 64, height: 64 } },
  ...{ mediaTime: ticks, keyframe: ticks === 0 },
});
const sound = (seconds: number): MediaItem => ({ type: 'audio', data: OPUS, mediaTime: seconds * VIDEO_CLOCK_HZ });

it('pictures whose clock hardly advances do not wait for sound without end', () => {
  mux.expectSound(true);
  for (let ticks = 0; ticks < 1000; ticks += 1) mux.handle(picture(ticks));
  expect(opened).toBe(1);
});

it('a clock of sound that runs ahead makes no more silence than the budget has', () => {
  mux.handle(picture(0));
  for (let packet = 0; packet < 1000; packet += 1) mux.handle(sound(packet * 59));
  const steps = written.map((seconds, index) => seconds - (written[index - 1] ?? 0));
  // Longer ones are not filled.
  const filled = steps.filter((step) => step <= LONGEST_SILENCE_SECONDS).reduce((sum, step) => sum + step, 0);
  expect(written.slice(0, 3)).toEqual([0, 59, 118]);
  expect(filled).toBe(118);
});

it('sound in real time is all taken, and so is sound after a pause of any length', () => {
  mux.handle(picture(0));
  const play = (from: number, packets: number): void => {
    for (let packet = 0; packet < packets; packet += 1) {
      nowSeconds = from + packet * PACKET_SECONDS;
      mux.handle(sound(nowSeconds));
    }
  };
  play(0, 6000);
  play(175, 6000);
  play(4000, 6000);
  expect(written).toHaveLength(18_000);
  expect(written.at(-1)).toBeCloseTo(4000 + 5999 * PACKET_SECONDS, 2);
});
