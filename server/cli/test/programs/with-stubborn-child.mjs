// `upscale` as the command line runs it, with a child that a signal does not end.
import { register } from 'tsx/esm/api';

register();
const { upscaleIsolated } = await import('../../isolated-upscale.ts');
const { exitCodeFor, reportError } = await import('../../report.ts');
const program = new URL('./stubborn.mjs', import.meta.url);
try {
  await upscaleIsolated(process.argv[2], process.argv[3], { overwrite: false }, { program });
} catch (error) {
  reportError(error);
  process.exitCode = exitCodeFor(error);
}
