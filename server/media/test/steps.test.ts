import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { STEPS, TIMED_STEPS, newTrace, spansOf, stepTimes, traceAt } from '../steps.ts';

it('is the list of docs/life-of-a-frame.md, in its words and order', () => {
  const page = readFileSync(new URL('../../../docs/life-of-a-frame.md', import.meta.url), 'utf8');
  const rows = [...page.matchAll(/^\| ([a-z, ]+?) +\| `/gm)].map((match) => match[1] ?? '');
  const words = STEPS.map(({ name }) => name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`));
  expect(rows).toEqual(words);
});

it('times every stamped step from the stamp before it, without gaps', () => {
  const trace = newTrace(1_000, 2_000);
  Object.assign(trace, { decodedAtUs: 2_500, convertedAtUs: 2_600, gatheredAtUs: 3_000, upscaledAtUs: 7_000 });
  Object.assign(trace, { pacedAtUs: 7_000, encodedAtUs: 9_000, sentAtUs: 9_500 });
  const spans = spansOf(trace);
  expect(spans.map(({ step }) => step)).toEqual(TIMED_STEPS);
  expect(spans.map(({ fromUs, toUs }) => toUs - fromUs)).toEqual([1000, 500, 100, 400, 4000, 0, 2000, 500]);
  for (const [index, { toUs }] of spans.slice(0, -1).entries()) expect(spans[index + 1]?.fromUs).toBe(toUs);
});

it('names times by step and begins with nothing done', () => {
  expect(Object.keys(stepTimes(() => 0))).toEqual(TIMED_STEPS.map((step) => `${step}Ms`));
  expect(newTrace(1, 2)).toEqual({ ...traceAt(0), receivedAtUs: 1, assembledAtUs: 2 });
  expect(traceAt(5, 1)).toMatchObject({ receivedAtUs: 1, decodedAtUs: 5, sentAtUs: 5 });
});
