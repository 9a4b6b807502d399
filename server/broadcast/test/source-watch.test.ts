import { expect, it, vi } from 'vitest';
import type { Log } from '../../log.ts';
import type { AccessUnit } from '../../media/types.ts';
import type { SourceStats } from '../source.ts';
import { SourceWatch } from '../source-watch.ts';

/** A slice header (H.264 7.3.3): first_mb_in_slice 0, then slice_type as ue(v): 0 is P, 1 is B. */
const P_SLICE = [0, 0, 0, 1, 0x41, 0b1110_0000, 0x80];
const B_SLICE = [0, 0, 0, 1, 0x01, 0b1010_0000, 0x80];

const unit = (bytes: readonly number[], change: Partial<AccessUnit> = {}): AccessUnit => ({
  ...{ codec: 'H264', data: Uint8Array.from(bytes), mediaTime: 0, keyframe: false, receivedAtUs: 0, assembledAtUs: 0 },
  ...change,
});

function watch() {
  const log = { info: vi.fn(), warn: vi.fn() };
  const dropped = vi.fn();
  return { log, dropped, source: new SourceWatch(log as unknown as Log, { dropped }) };
}

it('a source with B-frames is noted once, and not held against the next source', () => {
  const { source, log } = watch();
  for (const other of [unit(P_SLICE), unit(B_SLICE, { codec: 'VP8' }), unit(B_SLICE, { keyframe: true })])
    source.onUnit(other);
  expect(source.reordered).toBe(false);
  source.onUnit(unit(B_SLICE));
  source.onUnit(unit(B_SLICE));
  expect(source.reordered).toBe(true);
  expect(log.info).toHaveBeenCalledTimes(1);
  source.begin();
  expect(source.reordered).toBe(false);
});

it('drops add up over all sources', () => {
  const { source, dropped } = watch();
  source.onDrop('incomplete', 2);
  source.begin();
  source.onDrop('incomplete', 1);
  source.onDrop('oversize', 1);
  expect(source.drops).toEqual({ incomplete: 3, oversize: 1 });
  expect(dropped.mock.calls).toEqual([
    ['incomplete', 2],
    ['incomplete', 1],
    ['oversize', 1],
  ]);
});

it('replaced timestamps are logged when there are more of them; another source counts from zero', () => {
  const { source, log } = watch();
  for (const timestampsReplaced of [0, 3, 3, 0, 1]) source.onStats({ timestampsReplaced } as SourceStats);
  expect(log.warn.mock.calls.map(([fields]) => fields as object)).toEqual([{ replaced: 3 }, { replaced: 1 }]);
});
