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

  it('forgets reports of a track that restarts', () => {
    const alignment = new AudioAlignment();
    alignment.onVideo(900_000, 5_000_000);
    alignment.onVideoReport(1_000_000, 900_000);
    alignment.onAudioReport(1_000_000, 48_000);
    alignment.restart('audio');
    expect(alignment.mediaTimeOf(0, 5_000_000)).toBeCloseTo(900_000);
  });
});
