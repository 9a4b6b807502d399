import { expect, it } from 'vitest';
import { configKeys, describeSettings, environmentName } from '../../config/config.ts';
import { serveHelp } from '../serve-help.ts';

it('every setting and section has a meaning', () => {
  const sections = describeSettings();
  expect(sections.flatMap(({ settings }) => settings.map(({ key }) => key))).toEqual(configKeys());
  expect(sections.filter(({ meaning }) => meaning === '')).toEqual([]);
  const settings = sections.flatMap(({ settings }) => settings);
  expect(settings.filter(({ meaning }) => meaning === '').map(({ key }) => key)).toEqual([]);
});

it('--help lists settings by section with flag, meaning and default', () => {
  const text = serveHelp(100);
  for (const key of configKeys()) expect(text).toContain(`--${key}`);
  expect(text).toContain(environmentName('media.jitterMs'));
  expect(text).toMatch(
    /\nA frame's way: .*:\n {2}--media\.jitterMs {2,}how long a missing packet is waited for \(default: 80\)\n/,
  );
  expect(text).toMatch(/ {2}--port, --http\.port {2,}TCP port/);
  expect(text.replaceAll(/\s+/g, ' ')).toContain(
    '--log-level, --log.level the least that is written; one of trace, debug, info, warn, error, silent (default: info)',
  );
  expect(text).toMatch(/--http\.publicUrl[^-]*\(default:\s+none\)/);
  expect(text).not.toContain('`');
  expect(text.split('\n').filter((line) => line.length > 100)).toEqual([]);
});
