import { z } from 'zod';
import { isLoopbackHost } from '../access/address.ts';
import { accessSection } from './sections/access.ts';
import { apiSection } from './sections/api.ts';
import { broadcastSection } from './sections/broadcast.ts';
import { debugSection } from './sections/debug.ts';
import { httpSection } from './sections/http.ts';
import { iceSection } from './sections/ice.ts';
import { jobsSection } from './sections/jobs.ts';
import { limitsSection } from './sections/limits.ts';
import { logSection } from './sections/log.ts';
import { mediaSection } from './sections/media.ts';
import { modelSection } from './sections/model.ts';
import { outputsList } from './sections/outputs.ts';
import { sourcesList } from './sections/sources.ts';
import { targetsSection } from './sections/targets.ts';

/** Every section with its schema: the one list that the schema, the loader, --help and the documentation's test walk. */
export const sections = {
  http: httpSection,
  access: accessSection,
  api: apiSection,
  model: modelSection,
  media: mediaSection,
  limits: limitsSection,
  ice: iceSection,
  broadcast: broadcastSection,
  jobs: jobsSection,
  targets: targetsSection,
  log: logSection,
  debug: debugSection,
} as const;

/** What lies in no section. A list's entries are objects: in a flag or the environment it is given whole, as JSON. */
export const topLevel = {
  drainSeconds: z.number().min(0).max(600).default(3).describe('how long sessions may go on after SIGTERM'),
  sources: sourcesList.describe(
    'streams that the server fetches itself (docs/pull-sources.md), a list in the configuration file',
  ),
  outputs: outputsList.describe(
    'recordings and relays (docs/recording-and-relay.md), a list in the configuration file',
  ),
} as const;

type Sections = typeof sections;

/** A section that is not given has its defaults. */
const withDefaults = Object.fromEntries(
  Object.entries(sections).map(([name, section]) => [name, (section as z.ZodType<object, object>).prefault({})]),
) as { [Name in keyof Sections]: z.ZodPrefault<Sections[Name]> };

/**
 * Everything that can be set. A class takes the slice it reads, `Config['media']` or a Pick of it, never the whole:
 * what it depends on then shows in its constructor, and a test names those settings alone.
 */
export const configSchema = z
  .strictObject({ ...withDefaults, ...topLevel })
  .superRefine(({ http, access }, context) => {
    if (access.mode !== undefined || access.lan || isLoopbackHost(http.host)) return;
    context.addIssue({
      code: 'custom',
      path: ['access', 'mode'],
      message: `must be written out when others reach the server (http.host is ${http.host}): tokens, jwt or webhook, or open, with which everybody may publish and watch; \`--lan\` makes keys for your own network (docs/access.md)`,
    });
  });

export type Config = z.infer<typeof configSchema>;
