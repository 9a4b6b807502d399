/**
 * What a viewer sees for the bits that were sent, by size, codec, model and rate: `npm run bench:bits` (README.md here).
 * Progress goes to stderr, tables to stdout, everything to bits-NAME.jsonl, .md and .svg.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { provenance } from '../machine.ts';
import { runCommand } from '../command.ts';
import { curvesOf, groupsOf } from './curves.ts';
import { measure } from './measure.ts';
import { readOptions, USAGE } from './options.ts';
import { plot } from './plot.ts';
import { markdown } from './report.ts';
import { RowFile } from './rows.ts';
import { sendTable } from './send-table.ts';

const say = (line: string): void => void process.stderr.write(`${line}\n`);

/** The command as anyone can repeat it: without this machine's folders. */
const command = (args: readonly string[], data: string): string =>
  [
    'npm run bench:bits --',
    ...args.map((word) => (data && word.endsWith(data) ? word.replace(data, 'DIR') : word)),
  ].join(' ');

async function main(args: string[]): Promise<void> {
  const options = readOptions(args);
  mkdirSync(options.out, { recursive: true });
  const file = new RowFile(join(options.out, `bits-${options.name}.jsonl`));
  if (!options.reportOnly) await measure(options, file, say);
  const rows = file.rows.filter(({ clip }) => options.clips.includes(clip));
  const groups = groupsOf(curvesOf(rows));
  const origin = provenance(command(args, options.data));
  const written = [file.path];
  const write = (path: string, text: string): void => {
    writeFileSync(path, text);
    written.push(path);
  };
  const body = markdown({ rows, groups, notRun: options.notRun });
  console.log(body);
  const base = join(options.out, `bits-${options.name}`);
  const { date, machine, node, commit } = origin;
  write(`${base}.md`, `# ${origin.command}\n\n${date}, ${machine}, Node ${node}, commit ${commit}\n\n${body}`);
  for (const kind of new Set(groups.map(({ way }) => `${way.content} ${way.goal}`))) {
    const mine = groups.filter(({ way }) => `${way.content} ${way.goal}` === kind);
    write(`${base}-${kind.replace(' ', '-')}.svg`, plot(`${kind}p: dB on Y against bits sent, ${date}`, mine));
  }
  if (options.table !== undefined) write(options.table, sendTable(groups, origin));
  say(`written: ${written.join(', ')}`);
}

await runCommand(main, USAGE);
