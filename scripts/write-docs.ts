import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { referencePages } from '../testing/reference/pages.ts';

/** `npm run docs`: writes the pages that are made from the code. */
for (const [path, text] of await referencePages()) {
  writeFileSync(fileURLToPath(new URL(`../${path}`, import.meta.url)), text);
  process.stdout.write(`${path}\n`);
}
