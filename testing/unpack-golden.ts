import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** Vitest's global set-up: tests read testdata/golden as files. */
export default function setup(): void {
  execFileSync(fileURLToPath(new URL('../scripts/unpack-golden.sh', import.meta.url)));
}
