import { readdirSync, statSync, type Stats } from 'node:fs';
import path from 'node:path';
import { VIDEO_ENDINGS, containerOf } from '../codec/containers.ts';
import { STANDARD } from '../codec/standard-streams.ts';
import { STILL_ENDINGS, stillFormatOf } from '../codec/still-format.ts';
import { AppError } from '../errors.ts';
import { isAddress } from './input-name.ts';

/** What the names of an input and of a result mean. Everything here is known before any work. */

export type Input =
  | { readonly kind: 'file'; readonly file: string }
  /** Numbered pictures, or all of a folder, in order. */
  | {
      readonly kind: 'pictures';
      readonly label: string;
      readonly files: readonly string[];
      readonly firstNumber: number;
    };

export type Result =
  | { readonly kind: 'film'; readonly file: string }
  | { readonly kind: 'picture'; readonly file: string }
  /** `name` gives that of picture `index`, from 0, in `folder`. */
  | {
      readonly kind: 'pictures';
      readonly label: string;
      readonly folder: string;
      readonly name: (index: number) => string;
      /** Whether a name in the folder is one of the result's. */
      readonly matches: (name: string) => boolean;
    };

/** `img%03d.png`: what stands before the number, its digits, what stands behind it; `%%` is a percent sign. */
interface Pattern {
  readonly before: string;
  readonly digits: number;
  readonly after: string;
}

function patternOf(name: string): Pattern | undefined {
  const parts = /^((?:[^%]|%%)*)%0?(\d*)d((?:[^%]|%%)*)$/.exec(name);
  if (parts === null || stillFormatOf(name) === undefined) return undefined;
  const [, before = '', digits = '', after = ''] = parts;
  return { before: before.replaceAll('%%', '%'), digits: Number(digits), after: after.replaceAll('%%', '%') };
}

function numberIn(name: string, { before, digits, after }: Pattern): number | undefined {
  if (!name.startsWith(before) || !name.endsWith(after) || name.length <= before.length + after.length)
    return undefined;
  const number = name.slice(before.length, name.length - after.length);
  return /^\d+$/.test(number) && number.length >= digits && (digits > 0 || !/^0\d/.test(number))
    ? Number(number)
    : undefined;
}

/** @throws AppError file.unreadable */
export function inputOf(input: string): Input {
  if (isAddress(input) || input === STANDARD || isFile(input)) return { kind: 'file', file: input };
  if (isFolder(input)) {
    const names = namesIn(input)
      .filter((name) => stillFormatOf(name) !== undefined && !name.startsWith('.'))
      .sort(new Intl.Collator('en', { numeric: true }).compare);
    if (names.length > 0) return pictures(input, input, names, 1);
    throw unreadable(
      input,
      `it is a folder without pictures (${STILL_ENDINGS.join(', ')})`,
      `For films: ${input}/*.mp4.`,
    );
  }
  const pattern = patternOf(path.basename(input));
  if (pattern === undefined) return { kind: 'file', file: input };
  const folder = path.dirname(input);
  const found = isFolder(folder) ? namesIn(folder) : [];
  const numbered = found
    .map((name) => ({ name, number: numberIn(name, pattern) }))
    .filter((entry): entry is { name: string; number: number } => entry.number !== undefined)
    .sort((a, b) => a.number - b.number);
  const [first] = numbered;
  if (first === undefined) throw unreadable(input, 'no picture has such a name', 'Check the folder and the number.');
  return pictures(
    input,
    folder,
    numbered.map(({ name }) => name),
    first.number,
  );
}

function pictures(label: string, folder: string, names: readonly string[], firstNumber: number): Input {
  return { kind: 'pictures', label, files: names.map((name) => path.join(folder, name)), firstNumber };
}

/** @throws AppError file.unwritable for endings that nothing is known of, and for pictures of a film without numbers */
export function resultOf(output: string, input: Input): Result {
  if (output === STANDARD) return { kind: 'film', file: output };
  if (input.kind === 'pictures' && (isFolder(output) || /[/\\]$/.test(output))) {
    const names = input.files.map((file) => path.basename(file));
    const own = new Set(names);
    const name = (index: number): string => names[index] ?? `${index}.png`;
    return { kind: 'pictures', label: output, folder: path.resolve(output), name, matches: (found) => own.has(found) };
  }
  const pattern = isFile(output) ? undefined : patternOf(path.basename(output));
  if (pattern !== undefined) {
    const first = input.kind === 'pictures' ? input.firstNumber : 1;
    const name = (index: number): string =>
      `${pattern.before}${String(first + index).padStart(pattern.digits, '0')}${pattern.after}`;
    const matches = (found: string): boolean => numberIn(found, pattern) !== undefined;
    return { kind: 'pictures', label: output, folder: path.dirname(path.resolve(output)), name, matches };
  }
  if (containerOf(output) !== undefined) return { kind: 'film', file: output };
  if (stillFormatOf(output) !== undefined) {
    if (input.kind === 'pictures') throw onePictureOnly(output, input.label);
    return { kind: 'picture', file: output };
  }
  const ending = path.extname(output);
  throw new AppError(
    'file.unwritable',
    ending === ''
      ? `${output} has no ending, which names the format.`
      : `${output} cannot be written: ${ending} is no format of a result.`,
    {
      context: { file: output },
      remedy: `A film: ${VIDEO_ENDINGS.join(', ')}. A picture, or numbered ones (img%05d.png): ${STILL_ENDINGS.join(', ')}.`,
    },
  );
}

export function onePictureOnly(output: string, input: string): AppError {
  const { name, ext } = path.parse(output);
  return new AppError('file.unwritable', `${output} takes one picture, and ${input} has several.`, {
    context: { file: output, input },
    remedy: `Number them (${name}%05d${ext}), or end the result in ${VIDEO_ENDINGS.slice(0, 4).join(', ')}.`,
  });
}

function isFolder(name: string): boolean {
  return statOf(name)?.isDirectory() ?? false;
}

function isFile(name: string): boolean {
  return statOf(name)?.isFile() ?? false;
}

function statOf(name: string): Stats | undefined {
  try {
    return statSync(name, { throwIfNoEntry: false });
  } catch {
    // Too long a name, a link to itself: said where the file is used.
    return undefined;
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (cause) {
    throw unreadable(folder, (cause as Error).message, 'Check its permissions.');
  }
}

function unreadable(input: string, reason: string, remedy: string): AppError {
  return new AppError('file.unreadable', `${input} cannot be read: ${reason}.`, { context: { file: input }, remedy });
}
