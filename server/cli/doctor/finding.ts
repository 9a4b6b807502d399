import { AppError } from '../../errors.ts';

/** One line of `doctor`. */
export interface Finding {
  /** What was looked at, a word or two. */
  readonly check: string;
  /** `warn`: the server starts, and something will be missed. `fail`: it does not start, or not as configured. */
  readonly status: 'ok' | 'warn' | 'fail';
  /** What is so. */
  readonly about: string;
  /** What to do; empty when nothing is. */
  readonly remedy: string;
}

export const ok = (check: string, about: string): Finding => ({ check, status: 'ok', about, remedy: '' });
export const warn = (check: string, about: string, remedy: string): Finding => ({
  check,
  status: 'warn',
  about,
  remedy,
});
export const fail = (check: string, about: string, remedy: string): Finding => ({
  check,
  status: 'fail',
  about,
  remedy,
});

/** What a check threw, in its own words. */
export function failed(check: string, thrown: unknown): Finding {
  const { message, remedy } = AppError.from(thrown);
  return fail(check, message, remedy);
}

/** A column of checks; what to do is below a line that needs it. */
export function findingsText(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map(({ check }) => check.length));
  const lines = findings.flatMap(({ check, status, about, remedy }) => [
    `${status.padEnd(5)} ${check.padEnd(width)}  ${about}`,
    ...(remedy === '' ? [] : [`${' '.repeat(6 + width)}  -> ${remedy}`]),
  ]);
  const count = (status: Finding['status']): number => findings.filter((each) => each.status === status).length;
  return [...lines, '', `${findings.length} checks: ${count('fail')} fail, ${count('warn')} warn`, ''].join('\n');
}
