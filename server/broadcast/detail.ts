import type { BroadcastSettings } from './settings.ts';
import type { BroadcastStats, BroadcastSummary } from './statistics.ts';
import type { ViewerDetail } from './subscriber.ts';

/** All about one broadcast. */
export interface BroadcastDetail extends BroadcastSummary {
  settings: BroadcastSettings;
  /** Of the last second; null before the first picture. */
  stats: BroadcastStats | null;
  sessions: ViewerDetail[];
}
