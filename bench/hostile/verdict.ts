/** What an honest viewer must keep, whatever another publisher sends: 27 of 30 frames. */
export const LEAST_SHARE = 27 / 30;
/** Fewer frames of the honest publisher than this say nothing: the bench itself did not get to run. */
export const LEAST_SENT = 100;

export interface Measured {
  readonly attack: string;
  /** Frames that the honest publisher sent meanwhile. */
  readonly sent: number;
  /** Of those, the part whose result reached its viewer. */
  readonly share: number;
}

export interface Verdict {
  /** 0: all keep it; 1: an attack takes more; 2: this machine cannot serve the honest broadcast alone. */
  readonly exitCode: 0 | 1 | 2;
  readonly misses: readonly string[];
}

/**
 * By frames delivered, of frames sent: a busy machine, on which the publisher sends fewer, does not look like an attack.
 * @param alone with nothing beside it
 */
export function judge(alone: Measured, rows: readonly Measured[]): Verdict {
  const shown = ({ share, sent }: Measured) => `${(30 * share).toFixed(1)} of 30 frames (${sent} sent)`;
  const holds = ({ share, sent }: Measured) => sent >= LEAST_SENT && share >= LEAST_SHARE;
  if (!holds(alone)) {
    const miss = `no judgement: without any attack the honest viewer gets ${shown(alone)}; the machine is too busy or the time too short`;
    return { exitCode: 2, misses: [miss] };
  }
  const misses = rows.filter((row) => !holds(row)).map((row) => `${row.attack}: ${shown(row)}`);
  return { exitCode: misses.length === 0 ? 0 : 1, misses };
}
