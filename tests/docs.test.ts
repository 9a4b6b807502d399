import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { referencePages } from '../testing/reference/pages.ts';

it('the pages that are made from the code are current (`npm run docs` writes them)', async () => {
  for (const [path, text] of await referencePages()) {
    expect([path, readFileSync(new URL(`../${path}`, import.meta.url), 'utf8')]).toEqual([path, text]);
  }
});
