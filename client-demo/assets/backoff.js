/**
 * Waiting time before try number `attempt` (from 1): doubling from half a second to fifteen seconds, with up to a third of
 * random spread so that a thousand viewers of a restarted server do not all come back in the same instant.
 * @param {number} attempt
 * @param {number} random 0..1
 * @returns {number} milliseconds
 */
export function backoffMs(attempt, random = Math.random()) {
  const base = Math.min(15_000, 500 * 2 ** Math.max(0, attempt - 1));
  return Math.round(base * (1 + random / 3));
}
