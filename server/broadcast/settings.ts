import type { Config } from '../config/config.ts';
import { AppError } from '../errors.ts';

/** What one broadcast can be given apart from others, and change while it runs. Meanings as the settings of these names. */
export type BroadcastSettings = Pick<
  Config['media'],
  | 'minBitrateBps'
  | 'startBitrateBps'
  | 'maxBitrateBps'
  | 'lowBitrateBps'
  | 'audioDelayMs'
  | 'keyframeIntervalSeconds'
  | 'ladder'
> &
  Config['broadcast'];

/** The defaults of every new broadcast. */
export function broadcastSettings({ media, broadcast }: Pick<Config, 'media' | 'broadcast'>): BroadcastSettings {
  const {
    minBitrateBps,
    startBitrateBps,
    maxBitrateBps,
    lowBitrateBps,
    audioDelayMs,
    keyframeIntervalSeconds,
    ladder,
  } = media;
  return {
    minBitrateBps,
    startBitrateBps,
    maxBitrateBps,
    lowBitrateBps,
    audioDelayMs,
    keyframeIntervalSeconds,
    ladder,
    ...broadcast,
  };
}

/** @returns the settings after the change. @throws AppError config.invalid */
export function changed(settings: BroadcastSettings, change: Partial<BroadcastSettings>): BroadcastSettings {
  const next = { ...settings, ...change };
  for (const key of ['minBitrateBps', 'startBitrateBps', 'maxBitrateBps', 'lowBitrateBps'] as const) {
    if (!Number.isInteger(next[key]) || next[key] <= 0) {
      throw new AppError('config.invalid', `${key}: ${next[key]} is not a positive whole number of bit/s.`);
    }
  }
  if (next.minBitrateBps > next.maxBitrateBps) {
    throw new AppError(
      'config.invalid',
      `minBitrateBps: ${next.minBitrateBps} exceeds maxBitrateBps, ${next.maxBitrateBps}.`,
    );
  }
  for (const key of ['resumeSeconds', 'pauseAfterMs', 'keyframeIntervalSeconds'] as const) {
    if (!(next[key] > 0)) throw new AppError('config.invalid', `${key}: ${next[key]} is not above 0.`);
  }
  return next;
}
