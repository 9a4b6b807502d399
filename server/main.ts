import { openFilesProblem } from './open-files.ts';

/** `npm start`. Everything else is loaded only when the process may open enough files to load it. */
const problem = openFilesProblem();
if (problem === undefined) {
  const { serve } = await import('./cli/serve.ts');
  await serve(process.argv.slice(2));
} else {
  process.stderr.write(problem);
  process.exitCode = 1;
}
