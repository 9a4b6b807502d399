import { describe, expect, it } from 'vitest';
import { AudioAlignment } from '../audio-alignment.ts';

describe('AudioAlignment', () => {
  it('maps audio to the video time line exactly once both tracks have reported', () => {
    const alignment = new AudioAlignment();
    alignment.onVideo(900_000, 5_000_000);
    // By arrival first: audio that arrives 100 ms after the picture is 9000 ticks later.
    expect(alignment.mediaTimeOf(48_000, 5_100_000)).toBeCloseTo(909_000);
    // Sender reports say: audio timestamp 48000 was sampled 20 ms before the picture at 900000.
    alignment.onVideoReport(1_000_000, 900_000);
    alignment.onAudioReport(980_000, 48_000);
    expect(alignment.mediaTimeOf(48_000, 7_000_000)).toBeCloseTo(898_200);
    expect(alignment.mediaTimeOf(96_000, 9_000_000)).toBeCloseTo(898_200 + 90_000);
  });

  it.each([
    ['two B-frames', [0, 3, 1, 2, 6, 4, 5, 9, 7, 8], 1],
    ['a pyramid of three', [0, 4, 2, 1, 3, 8, 6, 5, 7, 12, 10, 9, 11], 2],
  ])('%s before the first report: sound keeps the place it has beside the decoding times', (_what, order, delay) => {
    const [ticks, us] = [3000, 33_333.333_333];
    for (const soundBeside of [0, 1, 6]) {
      const alignment = new AudioAlignment();
      // Decoding time k - delay; all of it arrives 0.5 s later. Sound of that time comes beside the picture.
      order.forEach((number, k) => {
        const arrivedAtUs = (k - delay) * us + 500_000;
        alignment.onVideo(number * ticks, arrivedAtUs);
        if (k >= soundBeside) alignment.mediaTimeOf((k - delay) * 1600, arrivedAtUs);
      });
      expect(alignment.mediaTimeOf(5 * 1600, 5 * us + 500_000)).toBeCloseTo(5 * ticks);
    }
  });

  it('forgets reports of a track that restarts', () => {
    const alignment = new AudioAlignment();
    alignment.onVideo(900_000, 5_000_000);
    alignment.onVideoReport(1_000_000, 900_000);
    alignment.onAudioReport(1_000_000, 48_000);
    alignment.restart('audio');
    expect(alignment.mediaTimeOf(0, 5_000_000)).toBeCloseTo(900_000);
  });
});
