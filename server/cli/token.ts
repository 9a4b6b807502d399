import { Option, type Command } from 'commander';
import { makeToken, tokenHash } from '../access/static-tokens.ts';
import { configSchema } from '../config/config.ts';
import { AppError } from '../errors.ts';

interface TokenFlags {
  readonly publish: readonly string[];
  readonly watch: readonly string[];
  readonly playback: readonly string[];
  readonly metrics?: true;
  readonly admin?: true;
  readonly days?: string;
}

/** Registers `token` with the command line: makes a token and the entry that the configuration keeps of it. */
export function registerToken(program: Command): void {
  const names = (flags: string, what: string): Option => new Option(flags, what).default([], 'none');
  program
    .command('token')
    .description('make an access token and its entry for access.tokens (docs/access.md)')
    .argument('<name>', 'what logs call it, for example studio')
    .addOption(names('--publish <names...>', 'names it may publish: exact, or with a star at the end'))
    .addOption(names('--watch <names...>', 'names it may watch'))
    .addOption(names('--playback <names...>', 'names whose recordings it may download'))
    .option('--metrics', 'it may read /metrics')
    .option('--admin', 'it may operate the server')
    .option('--days <days>', 'it ends after these days')
    .action((name: string, flags: TokenFlags) => void process.stdout.write(newToken(name, flags)));
}

/** @returns what is printed. @throws AppError config.invalid */
export function newToken(name: string, flags: TokenFlags, token = makeToken(), nowMs = Date.now()): string {
  const { publish, watch, playback, metrics, admin, days } = flags;
  const expires = days === undefined ? {} : { expires: endAfter(days, nowMs) };
  const rights = {
    ...(publish.length === 0 ? {} : { publish }),
    ...(watch.length === 0 ? {} : { watch }),
    ...(playback.length === 0 ? {} : { playback }),
    ...(metrics === undefined ? {} : { metrics }),
    ...(admin === undefined ? {} : { admin }),
  };
  if (Object.keys(rights).length === 0) {
    throw new AppError('config.invalid', 'The token would have no right.', {
      remedy: 'Give at least one of --publish, --watch, --playback, --metrics and --admin.',
    });
  }
  const entry = { name, hash: tokenHash(token), ...rights, ...expires };
  const checked = configSchema.safeParse({ access: { mode: 'tokens', tokens: [entry] } });
  if (!checked.success) {
    const [issue] = checked.error.issues;
    throw new AppError('config.invalid', `${issue?.path.slice(3).join('.') ?? ''}: ${issue?.message ?? ''}`, {
      remedy: 'Correct the name or the right.',
    });
  }
  return [
    `token  ${token}`,
    '',
    'It is shown once. For the configuration file, under access:',
    '',
    '  mode: tokens',
    '  tokens:',
    // JSON is YAML (YAML 1.2 section 1.3).
    `    - ${JSON.stringify(entry)}`,
    '',
  ].join('\n');
}

function endAfter(days: string, nowMs: number): string {
  const count = Number(days);
  if (!(count > 0 && count <= 36_500)) {
    throw new AppError('config.invalid', '--days is not a number of days.', { remedy: 'Give a number such as 30.' });
  }
  return new Date(nowMs + count * 86_400_000).toISOString();
}
