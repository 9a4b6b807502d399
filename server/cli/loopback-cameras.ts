import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';

/** A video device that programs can write to and that others see as a camera. */
export interface LoopbackCamera {
  /** For example /dev/video10. */
  readonly device: string;
  /** What meeting programs call it. */
  readonly label: string;
}

/**
 * The devices of v4l2loopback, by sysfs: of all video drivers it alone makes virtual devices with the attribute `max_openers`.
 * @param folder for tests
 */
export function loopbackCameras(folder = '/sys/class/video4linux'): LoopbackCamera[] {
  if (!existsSync(folder)) return [];
  const names = readdirSync(folder).filter((name) => /^video\d+$/.test(name));
  return names
    .filter((name) => existsSync(join(realpathSync(join(folder, name)), 'max_openers')))
    .sort((a, b) => Number(a.slice(5)) - Number(b.slice(5)))
    .map((name) => ({ device: `/dev/${name}`, label: readFileSync(join(folder, name, 'name'), 'utf8').trim() }));
}
