import { expect, it } from 'vitest';
import { opusTone } from '../../../../testing/opus-tone.ts';
import { AUDIO_CLOCK_HZ } from '../../../media/types.ts';
import { AacTrack } from '../aac-track.ts';

const SAMPLES = 960;

it.each([10, 90, 3600])('sound after a pause of %i s plays after it', (pauseSeconds) => {
  const track = new AacTrack();
  try {
    const second = (AUDIO_CLOCK_HZ * pauseSeconds) / SAMPLES;
    const packets = opusTone(100).flatMap((data, index) =>
      track.convert(data, (index < 50 ? index : index + second) * SAMPLES, SAMPLES),
    );
    packets.push(...track.finish());
    const times = packets.map(({ pts }) => Number(pts));
    for (const packet of packets) packet.free();
    expect(times).toEqual([...times].sort((a, b) => a - b));
    const last = (times.at(-1) ?? 0) / AUDIO_CLOCK_HZ;
    expect(Math.abs(last - pauseSeconds - 2)).toBeLessThan(0.1);
  } finally {
    track.close();
  }
});
