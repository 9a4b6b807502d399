import type { OutputOf } from '../config/config.ts';

/**
 * A recording's file name: `stage_archive_20261130T180557Z.mp4`, of the broadcast `stage` and the output `archive`, begun at that
 * time. The slash of `room/participant` becomes `~`, which no name of a broadcast has; no part of it can lead out of the folder.
 */
export function recordingStem(broadcast: string, output: string): string {
  return `${broadcast.replaceAll('/', '~')}_${output}`;
}

/** UTC, to the second. */
export function recordingStamp(date: Date): string {
  return date.toISOString().replaceAll(/[-:]|\.\d+/g, '');
}

export interface RecordingName {
  readonly broadcast: string;
  readonly output: string;
  readonly startedAt: string;
  readonly container: 'mp4' | 'webm';
}

const NAME =
  /^([A-Za-z0-9][A-Za-z0-9._~-]*)_([A-Za-z0-9][A-Za-z0-9-]*)_(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z(?:-\d+)?\.(mp4|webm)$/;

/** @returns undefined for files that are no recordings, and for every name with a slash or a leading dot */
export function parseRecordingName(file: string): RecordingName | undefined {
  const match = file.length > 255 ? null : NAME.exec(file);
  if (match === null) return undefined;
  const [, broadcast = '', output = '', year, month, day, hour, minute, second, ending] = match;
  return {
    broadcast: broadcast.replaceAll('~', '/'),
    output,
    startedAt: `${year}-${month}-${day}T${hour}:${minute}:${second}Z`,
    container: ending === 'webm' ? 'webm' : 'mp4',
  };
}

export type RecordingConfig = OutputOf<'recording'>;
