import { Random } from './random.ts';

/** Something that takes input of strangers. */
export interface FuzzTarget {
  readonly name: string;
  /** What is fed and what is asserted, in a line. */
  readonly about: string;
  /** A new run over many iterations; what it keeps between them is state that a peer could build up. */
  open(): (random: Random) => void;
}

/** What must hold of every input. */
export function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(what);
}

/** The error of one iteration, with what repeats it. */
export class FuzzFailure extends Error {
  override readonly name = 'FuzzFailure';

  constructor(target: string, seed: number, iteration: number, cause: unknown) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    super(`${target}: ${reason} (--seed ${seed}, iteration ${iteration})`, { cause });
  }
}

/** @throws FuzzFailure at the first input of which something does not hold */
export function fuzz(
  target: FuzzTarget,
  { iterations, seed }: { readonly iterations: number; readonly seed: number },
): void {
  const random = new Random(seed);
  const run = target.open();
  for (let iteration = 0; iteration < iterations; iteration += 1) {
    try {
      run(random);
    } catch (error) {
      throw new FuzzFailure(target.name, seed, iteration, error);
    }
  }
}
