/** What a client wants to do. `hls` is watching by HLS, `playback` a finished recording, `rooms` is reserved for calls. */
export type Action = 'publish' | 'watch' | 'hls' | 'playback' | 'rooms' | 'metrics' | 'admin';

/** What a credential permits. Names are exact, or end in `*`. */
export interface Rights {
  readonly publish: readonly string[];
  /** By WebRTC and by HLS. */
  readonly watch: readonly string[];
  /** Recordings of these names. */
  readonly playback: readonly string[];
  readonly rooms: readonly string[];
  readonly metrics: boolean;
  /** The admin API, `/debug/state`, `/metrics`, and every recording. */
  readonly admin: boolean;
}

export const NO_RIGHTS: Rights = { publish: [], watch: [], playback: [], rooms: [], metrics: false, admin: false };

/** @param name of the broadcast or room; empty where the action has none */
export function allows(rights: Rights, action: Action, name: string): boolean {
  switch (action) {
    case 'publish':
      return covers(rights.publish, name);
    case 'watch':
    case 'hls':
      return covers(rights.watch, name);
    case 'playback':
      return rights.admin || covers(rights.playback, name);
    case 'rooms':
      return covers(rights.rooms, name);
    case 'metrics':
      return rights.admin || rights.metrics;
    case 'admin':
      return rights.admin;
  }
}

/** A star at the end stands for the rest of the name, alone for every name. No regular expression comes from a credential. */
export function covers(patterns: readonly string[], name: string): boolean {
  return patterns.some((pattern) =>
    pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : pattern === name && name !== '',
  );
}
