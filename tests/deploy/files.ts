import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository's root. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Every file below deploy/, by its path from there. */
export function deployFiles(): ReadonlyMap<string, string> {
  const folder = path.join(ROOT, 'deploy');
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const files = entries.map((entry) => path.join(entry.parentPath, entry.name));
  return new Map(files.map((file) => [path.relative(folder, file), readFileSync(file, 'utf8')]));
}

/** @throws Error when it is not there */
export function deployFile(name: string): string {
  return readFileSync(path.join(ROOT, 'deploy', name), 'utf8');
}
