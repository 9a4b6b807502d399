import { isGlobal, isLoopback, parseCandidate, type Candidate } from './candidates.ts';

/**
 * The addresses a description names, bounded for the session's life: an offer costs its sender nothing, and every address
 * in it receives packets of ours. An ICE restart does not give new ones.
 */

/** Addresses that may be sent to before they have sent anything. */
export type CandidatePolicy = (host: string) => boolean;

/**
 * Peers that come to us: a loopback server stays on its loopback, any other server goes to global addresses alone. A peer
 * of the same private network loses nothing: its own checks reach us.
 */
export function visitorPolicy(interfaceAddresses: readonly string[]): CandidatePolicy {
  const loopback = interfaceAddresses.length > 0 && interfaceAddresses.every(isLoopback);
  return loopback ? isLoopback : isGlobal;
}

/** Unique addresses that a session takes, descriptions and trickled candidates together. */
export const MAX_REMOTE_CANDIDATES = 8;

export class RemoteCandidates {
  readonly #policy: CandidatePolicy;
  readonly #known = new Map<string, Candidate>();
  refused = 0;

  constructor(policy: CandidatePolicy) {
    this.#policy = policy;
  }

  /** @returns undefined for malformed text, names, addresses the policy refuses and any beyond the limit */
  add(line: string): Candidate | undefined {
    const candidate = parseCandidate(line);
    if (candidate === undefined) return undefined;
    const key = `${candidate.host}|${candidate.port}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    if (this.#known.size >= MAX_REMOTE_CANDIDATES || !this.#policy(candidate.host)) {
      this.refused += 1;
      return undefined;
    }
    this.#known.set(key, candidate);
    return candidate;
  }

  /** @returns the candidates of a whole description, each address once */
  addAll(lines: readonly string[]): readonly Candidate[] {
    return [...new Set(lines.flatMap((line) => this.add(line) ?? []))];
  }

  get all(): readonly Candidate[] {
    return [...this.#known.values()];
  }
}
