import type { Config } from './schema.ts';

const SECRET = /credential|secret|password|token/i;

/** For the boot log: the configuration without secrets, wherever a section keeps one. */
export function printableConfig(config: Config): Config {
  return masked(config) as Config;
}

function masked(value: unknown): unknown {
  if (typeof value === 'string') return withoutCredentials(value);
  if (Array.isArray(value)) return value.map(masked);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => {
      const secret = SECRET.test(key) && typeof inner === 'string';
      return [key, secret ? '***' : masked(inner)];
    }),
  );
}

/** An address with a host: user, password and query may be secrets (a camera's, a stream key). */
function withoutCredentials(text: string): string {
  return text
    .replace(/^([a-z][a-z0-9+.-]*:\/\/)[^/?#]*@/i, '$1***@')
    .replace(/^([a-z][a-z0-9+.-]*:\/\/[^?#]*)[?#].*$/is, '$1?***');
}
