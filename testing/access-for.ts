import { Access, type AccessOptions } from '../server/access/access.ts';
import { TargetPolicy } from '../server/access/target-policy.ts';
import { configSchema } from '../server/config/config.ts';

/** The rights as a configuration has them, for parts of the server; without one everybody may publish and watch. */
export function accessFor(settings: object = {}, options: Partial<AccessOptions> = {}): Access {
  const { access } = configSchema.parse({ access: settings });
  const log = { info: () => {}, warn: () => {} };
  return new Access(access, { policy: new TargetPolicy({ allow: ['127.0.0.1'] }), onLoopback: true, log, ...options });
}
