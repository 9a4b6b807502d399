/** Why nothing can be measured, for the reader of a terminal. */
export class UsageError extends Error {}

/** Runs a benchmark's main(). A wrong option ends it with what was wrong, `usage` and exit code 2; anything else is a defect and is thrown. */
export async function runCommand(main: (args: string[]) => Promise<void>, usage: string): Promise<void> {
  try {
    await main(process.argv.slice(2));
  } catch (error) {
    if (!(error instanceof UsageError) && !String((error as { code?: string }).code).startsWith('ERR_PARSE_ARGS'))
      throw error;
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${usage}\n`);
    process.exitCode = 2;
  }
}
