import { expect, it } from 'vitest';
import { parseRecordingName, recordingStamp, recordingStem } from '../recording-name.ts';

it.each(['stage', 'room/ann', 'a.b-c_d/e_f'])('the name of %s is read back, without a slash in it', (broadcast) => {
  const stem = `${recordingStem(broadcast, 'archive-1')}_${recordingStamp(new Date('2026-11-30T18:05:57.250Z'))}`;
  expect(stem).not.toContain('/');
  for (const file of [`${stem}.mp4`, `${stem}-12.mp4`]) {
    expect(parseRecordingName(file)).toEqual({
      ...{ broadcast, output: 'archive-1', startedAt: '2026-11-30T18:05:57Z', container: 'mp4' },
    });
  }
});

it.each([
  '',
  'x.mp4',
  '../s_a_20261130T180557Z.mp4',
  '.s_a_20261130T180557Z.mp4',
  's_a_20261130T180557Z.mp4/..',
  's_a_20261130T180557Z.mkv',
])('%j is no recording', (file) => expect(parseRecordingName(file)).toBeUndefined());
