import { expect, it } from 'vitest';
import { makeStream } from '../../../testing/pictures.ts';
import { PipelineCore } from '../core.ts';
import type { FromPipeline } from '../messages.ts';
import { workUntil } from '../turn.ts';
import { pipelineOptions } from './options.ts';

it('a turn ends by the clock: the rest of what may be left out is, all else is worked on in order', () => {
  let nowUs = 0;
  const worked: number[] = [];
  const leftOut = workUntil(
    Array.from({ length: 1000 }, (_, index) => index),
    {
      untilUs: 200_000,
      nowUs: () => nowUs,
      mayLeaveOut: (item) => item !== 500,
      work: (item) => {
        worked.push(item);
        nowUs += 20_000;
      },
    },
  );
  expect(worked).toEqual([...Array.from({ length: 10 }, (_, index) => index), 500]);
  expect(leftOut).toBe(989);
});

it('a source that is more than the thread decodes: what has gathered is left out up to the next keyframe, in every turn', () => {
  // Each look at the clock is a tenth of a second later than the one before.
  let nowUs = 0;
  const posted: FromPipeline[] = [];
  const core = new PipelineCore(
    pipelineOptions({}),
    (message) => posted.push(message),
    () => (nowUs += 100_000),
  );
  const units = makeStream({ codec: 'VP8', width: 64, height: 48, frames: 100 });
  const messages = units.map((unit) => ({ type: 'accessUnit', unit }) as const);
  core.handleAll(messages.slice(0, 15));
  expect(posted).toEqual([]);
  core.handleAll(messages.slice(15));
  expect(posted).toEqual([{ type: 'needKeyframe', reason: 'the source is more than this machine decodes' }]);
});
