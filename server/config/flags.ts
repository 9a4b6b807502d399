import { AppError } from '../errors.ts';
import { configKeys, SHORT_FLAGS } from './keys.ts';
import { parseText, setPath, type Tree } from './tree.ts';

/** `--key value`, `--key=value`, `--flag` (true), `--no-flag` (false). */
export function fromFlags(argv: readonly string[]): { tree: Tree; file: string | undefined } {
  const known = new Set(configKeys());
  const tree: Tree = {};
  let file: string | undefined;
  for (let index = 0; index < argv.length; index += 1) {
    const argument = argv[index] ?? '';
    const match = /^--(no-)?([^=]+)(?:=(.*))?$/s.exec(argument);
    if (!match)
      throw new AppError('config.invalid', `Unexpected argument "${argument}": settings are given as --key value.`);
    const [, no, name = '', inline] = match;
    const key = SHORT_FLAGS[name] ?? name;
    if (key !== 'config' && !known.has(key)) {
      throw new AppError('config.invalid', `Unknown flag --${name}; --help lists the flags.`, {
        context: { flag: name },
      });
    }
    const next = argv[index + 1];
    let value: unknown = true;
    if (no !== undefined) value = false;
    else if (inline !== undefined) value = parseText(inline);
    else if (next !== undefined && !next.startsWith('--')) {
      value = parseText(next);
      index += 1;
    }
    if (key === 'config') file = String(value);
    else setPath(tree, key, value);
  }
  return { tree, file };
}
