import type { Config } from './schema.ts';

const SECRET = /credential|secret|password|token|bearer|hash/i;
/** Addresses whose user, password, path or query may be a key. */
const KEYED_ADDRESSES = ['url', 'webhookUrl', 'jwksUrl'];

/** For the boot log: the configuration without secrets, wherever a section keeps one. */
export function printableConfig(config: Config): Config {
  return masked(config) as Config;
}

function masked(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(masked);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => {
      if (typeof inner !== 'string') return [key, masked(inner)];
      if (KEYED_ADDRESSES.includes(key)) return [key, withoutKey(inner)];
      return [key, SECRET.test(key) ? '***' : inner];
    }),
  );
}

function withoutKey(text: string): string {
  if (!URL.canParse(text)) return '***';
  const { protocol, host } = new URL(text);
  return `${protocol}//${host}/***`;
}
