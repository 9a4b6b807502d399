import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { configKeys } from '../config.ts';

it('docs/operations.md explains every setting', () => {
  const text = readFileSync(new URL('../../../docs/operations.md', import.meta.url), 'utf8');
  expect(configKeys().filter((key) => !text.includes(`\`${key}\``))).toEqual([]);
});
