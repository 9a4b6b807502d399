import type { Command } from 'commander';
import { leaveNow } from '../exit.ts';
import { findingsText } from './doctor/finding.ts';

/** Registers `doctor` with the command line: what keeps this machine and these settings from working, a line each. */
export function registerDoctor(program: Command): void {
  program
    .command('doctor')
    .description(
      'what keeps the server from working here: ports, certificate, TURN, GPU, models, disk, limits; changes nothing',
    )
    .argument('[settings...]', "the server's own, behind --: -- --config live.yaml --port 8443")
    .option('--json', 'for programs: {"findings": [{check, status, about, remedy}]}')
    .action(async (flags: readonly string[], { json = false }: { readonly json?: boolean }) => {
      // Large, as the server is: other commands do without it.
      const { examine } = await import('./doctor/examine.ts');
      const { THIS_MACHINE } = await import('./doctor/machine.ts');
      const sources = { argv: flags, environment: process.env, defaultFile: 'flashvsr.yaml' };
      const findings = await examine(sources, THIS_MACHINE);
      const text = json ? `${JSON.stringify({ findings }, null, 2)}\n` : findingsText(findings);
      const code = findings.some(({ status }) => status === 'fail') ? 1 : 0;
      // A TURN server that does not answer is asked for longer than anybody waits for it.
      process.stdout.write(text, () => leaveNow(code));
    });
}
