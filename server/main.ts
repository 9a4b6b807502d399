import { loadGently, openFilesLimit, openFilesProblem, tooFewToLoad } from './open-files.ts';

/** `npm start`. Everything else is loaded only when the process may open enough files to load it. */
async function main(): Promise<string | undefined> {
  const limit = openFilesLimit();
  const problem = openFilesProblem(limit);
  if (problem !== undefined) return problem;
  try {
    await loadGently(limit);
    const { serve } = await import('./cli/serve.ts');
    await serve(process.argv.slice(2));
    return undefined;
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'EMFILE') throw thrown;
    return tooFewToLoad(limit);
  }
}

const problem = await main();
if (problem !== undefined) {
  process.stderr.write(problem);
  process.exitCode = 1;
}
