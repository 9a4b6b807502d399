/** The table of faults that films and pictures were once upscaled with, and which tests hold each row. */

export interface Row {
  readonly letter: string;
  readonly kind: string;
  /** Of the tests' whole names, with their file in front: `server/cli/test/files/cut.it.test.ts G a server that …`. */
  readonly tests: RegExp;
}

const files = (pattern: string): RegExp => new RegExp(`^server/cli/test/${pattern}`);
/** Tests of server/cli/test/files whose names begin with the row's letter. */
const letter = (name: string): RegExp => files(`files/[a-z-]+\\.it\\.test\\.ts ${name} `);

export const ROWS: readonly Row[] = [
  { letter: 'A', kind: 'colour tags where sound comes before the first picture', tests: letter('A') },
  { letter: 'B', kind: 'interlaced pictures', tests: letter('B') },
  { letter: 'C', kind: 'sample aspect of program, transport and raw streams', tests: letter('C') },
  { letter: 'D', kind: 'clocks that jump', tests: letter('D') },
  { letter: 'E', kind: 'clocks that start late', tests: letter('E') },
  { letter: 'F', kind: 'names that belong to the user', tests: files('result-file\\.test\\.ts a result on its way ') },
  { letter: 'G', kind: 'read errors half-way, files that are cut off', tests: letter('G') },
  { letter: 'H', kind: 'HDR, primaries and transfers', tests: letter('H') },
  {
    letter: 'I',
    kind: 'subtitles, chapters, attachments, languages, description',
    tests: files('files/(chapters|tracks|lost)\\.it\\.test\\.ts (?!J |K )'),
  },
  { letter: 'J', kind: 'sound that no container takes as it is', tests: letter('J') },
  { letter: 'K', kind: 'a damaged header in the sound', tests: letter('K') },
  { letter: 'L', kind: 'Ctrl-C, TERM, HUP', tests: files('stop-signals\\.it\\.test\\.ts ') },
  { letter: 'M', kind: 'names of files', tests: letter('M names') },
  { letter: 'N', kind: 'endings of results', tests: letter('N endings of results') },
  {
    letter: 'O',
    kind: 'results that cannot be written, two runs for one result',
    tests: files('result-file\\.test\\.ts (refused before the job|one run for one result) '),
  },
  { letter: 'S', kind: 'pictures that stay', tests: letter('S') },
  {
    letter: 'T',
    kind: 'results above level 5.2 of H264',
    tests: /^server\/codec\/test\/file-encoder\.test\.ts the codec of a result /,
  },
  { letter: 'U', kind: 'scales that the model does not make', tests: letter('U') },
  { letter: 'V', kind: 'rotation and flip', tests: letter('V') },
];

export interface TestOutcome {
  /** File and whole name, as in `Row.tests`. */
  readonly name: string;
  readonly status: 'passed' | 'failed' | 'skipped';
}

export interface RowOutcome extends Row {
  /** `none`: no test holds the row. */
  readonly status: 'pass' | 'FAIL' | 'none';
  readonly passed: number;
  readonly failed: readonly string[];
}

export function rowOutcomes(rows: readonly Row[], tests: readonly TestOutcome[]): RowOutcome[] {
  return rows.map((row) => {
    const own = tests.filter(({ name, status }) => row.tests.test(name) && status !== 'skipped');
    const failed = own.filter(({ status }) => status === 'failed').map(({ name }) => name);
    const status = failed.length > 0 ? 'FAIL' : own.length > 0 ? 'pass' : 'none';
    return { ...row, status, passed: own.length - failed.length, failed };
  });
}
