import { Dictionary } from 'node-av/lib';

/**
 * What a muxer writes itself, or what was true of the old streams only. `timecode` of a file stays: muxers that know it write a track.
 */
const OWN = new Set(
  ['major_brand', 'minor_version', 'compatible_brands', 'encoder', 'vendor_id', 'duration', 'bps', 'number_of_frames']
    .concat(['number_of_bytes', 'source_id', 'variant_bitrate', '_statistics_writing_app'])
    .concat(['_statistics_writing_date_utc', '_statistics_tags']),
);

/** The entries worth keeping; undefined when there is none. */
export function keptMetadata(from: Dictionary | null): Dictionary | undefined {
  const kept: Record<string, string> = {};
  for (const [key, value] of Object.entries(from?.getAll() ?? {})) {
    // Matroska's statistics come by language: `BPS-eng`.
    if (!OWN.has(key.toLowerCase().replace(/-[a-z]{3}$/, ''))) kept[key] = value;
  }
  return Object.keys(kept).length === 0 ? undefined : Dictionary.fromObject(kept);
}
