import { existsSync, readFileSync } from 'node:fs';
import { parse as parseYaml } from 'yaml';
import type { z } from 'zod';
import { AppError } from '../errors.ts';
import { fromFlags } from './flags.ts';
import { configKeys, environmentName } from './keys.ts';
import { configSchema, type Config } from './schema.ts';
import { isTree, merge, parseText, setPath, type Tree } from './tree.ts';

export interface ConfigSources {
  readonly argv?: readonly string[];
  readonly environment?: NodeJS.ProcessEnv;
  /** Read when no --config is given and it exists. */
  readonly defaultFile?: string;
}

/**
 * Layers, later ones win: defaults, config file (YAML), environment, flags. A key `media.jitterMs` is the file's
 * `media: { jitterMs: 80 }`, the environment's FLASHVSR_MEDIA_JITTER_MS and the flag `--media.jitterMs 80`; common ones
 * also have a short flag (SHORT_FLAGS).
 * @throws AppError config.invalid | config.unreadable, the message names every wrong key
 */
export function loadConfig({ argv = [], environment = {}, defaultFile }: ConfigSources): Config {
  const flags = fromFlags(argv);
  const path =
    flags.file ??
    environment['FLASHVSR_CONFIG'] ??
    (defaultFile !== undefined && existsSync(defaultFile) ? defaultFile : undefined);
  const file = path === undefined ? {} : readFile(path);
  const tree = merge(merge(file, fromEnvironment(environment)), flags.tree);
  const parsed = configSchema.safeParse(tree);
  if (!parsed.success)
    throw new AppError('config.invalid', `Invalid configuration: ${describeIssues(parsed.error)}`, {
      cause: parsed.error,
    });
  return parsed.data;
}

function readFile(path: string): Tree {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new AppError('config.unreadable', `The config file ${path} cannot be read: ${(cause as Error).message}`, {
      cause,
      context: { path },
    });
  }
  try {
    const tree: unknown = parseYaml(text) ?? {};
    if (!isTree(tree)) throw new Error('the top level must be a mapping of sections');
    return tree;
  } catch (cause) {
    throw new AppError('config.unreadable', `The config file ${path} is not valid: ${(cause as Error).message}`, {
      cause,
      context: { path },
    });
  }
}

function fromEnvironment(environment: NodeJS.ProcessEnv): Tree {
  const tree: Tree = {};
  for (const key of configKeys()) {
    const text = environment[environmentName(key)];
    if (text !== undefined && text !== '') setPath(tree, key, parseText(text));
  }
  return tree;
}

/** zod's issues as sentences that name the key, what was wrong and what is allowed. */
export function describeIssues(error: z.ZodError): string {
  return error.issues
    .map((issue) => {
      const key = issue.path.join('.');
      if (issue.code === 'unrecognized_keys')
        return `${key === '' ? '' : `${key}: `}unknown key ${issue.keys.map((k) => `"${k}"`).join(', ')}`;
      return `${key}: ${issue.message}`;
    })
    .join('; ');
}
