import { sections, topLevel } from './schema.ts';

/** Every settable key as a dotted path, for environment names, help, unknown-flag messages and the documentation's test. */
export function configKeys(): string[] {
  const keys = Object.entries(sections).flatMap(([name, { shape }]) =>
    Object.keys(shape).map((key) => `${name}.${key}`),
  );
  return [...keys, ...Object.keys(topLevel)];
}

/** media.jitterMs -> FLASHVSR_MEDIA_JITTER_MS */
export function environmentName(key: string): string {
  return `FLASHVSR_${key
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replaceAll('.', '_')
    .toUpperCase()}`;
}

/** Short names for the flags people type most. */
export const SHORT_FLAGS: Readonly<Record<string, string>> = {
  host: 'http.host',
  port: 'http.port',
  lan: 'access.lan',
  model: 'model.name',
  device: 'model.device',
  scale: 'model.scale',
  'tls-cert': 'http.tlsCertificateFile',
  'tls-key': 'http.tlsKeyFile',
  'log-level': 'log.level',
};
