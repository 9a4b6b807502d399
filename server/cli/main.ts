import { Command } from 'commander';
import { VERSION } from '../version.ts';
import { registerDoctor } from './doctor.ts';
import { registerModels } from './models.ts';
import { exitCodeFor, reportError } from './report.ts';
import { registerReplay } from './replay.ts';
import { registerToken } from './token.ts';
import { protectNames } from './upscale-flags.ts';
import { registerUpscale } from './upscale.ts';
import { registerWebcam } from './webcam.ts';

/** `npm run cli -- <command>`: everything that is not the server. */
async function main(argv: readonly string[]): Promise<void> {
  const program = new Command('flashvsr-live')
    .description('Real-time streaming video super-resolution: tools beside the server (npm start)')
    .version(VERSION)
    .showHelpAfterError('--help shows what there is.');
  registerUpscale(program);
  registerModels(program);
  registerReplay(program);
  registerWebcam(program);
  registerToken(program);
  registerDoctor(program);
  const upscale = program.commands.find((command) => command.name() === 'upscale');
  const names = argv[0] === 'upscale' && upscale !== undefined ? protectNames(argv, upscale) : argv;
  await program.parseAsync(names, { from: 'user' });
}

main(process.argv.slice(2)).catch((thrown: unknown) => {
  reportError(thrown);
  process.exitCode = exitCodeFor(thrown);
});
