import { Command } from 'commander';
import { AppError } from '../errors.ts';
import { VERSION } from '../version.ts';
import { registerModels } from './models.ts';
import { registerUpscale } from './upscale.ts';

/** `npm run cli -- <command>`: everything that is not the server. */
async function main(argv: readonly string[]): Promise<void> {
  const program = new Command('flashvsr-live')
    .description('Real-time streaming video super-resolution: tools beside the server (npm start)')
    .version(VERSION)
    .showHelpAfterError();
  registerUpscale(program);
  registerModels(program);
  await program.parseAsync(argv, { from: 'user' });
}

main(process.argv.slice(2)).catch((thrown: unknown) => {
  const error = AppError.from(thrown);
  process.stderr.write(`${error.message}\n${error.remedy}\n`);
  if (error.code === 'internal') process.stderr.write(`${error.stack ?? ''}\n`);
  process.exitCode = 1;
});
