import type { Config } from './schema.ts';

const SECRET = /credential|secret|password|token/i;

/** For the boot log: the configuration without secrets, wherever a section keeps one. */
export function printableConfig(config: Config): Config {
  return masked(config) as Config;
}

function masked(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(masked);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => {
      const secret = SECRET.test(key) && typeof inner === 'string';
      return [key, secret ? '***' : masked(inner)];
    }),
  );
}
