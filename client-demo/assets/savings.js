/**
 * @typedef {object} Savings
 * @property {number} savedBps what the uplink does not have to carry
 * @property {number} ratio savedBps / resultBps, 0..1
 */

/**
 * What sending small saves the uplink: the bit rate of the server's result, as the server measures it, against the bit
 * rate that this page measures on its way up. It is an estimate: it takes for granted that the sender would need, for a
 * picture of the result's size, what the server's encoder spends on one.
 * @param {number} uplinkBps measured, packet headers included
 * @param {number} resultBps measured by the server for one viewer
 * @returns {Savings | undefined} undefined while either is not known
 */
export function estimateSavings(uplinkBps, resultBps) {
  if (!(uplinkBps > 0) || !(resultBps > 0)) return undefined;
  const savedBps = Math.max(0, resultBps - uplinkBps);
  return { savedBps, ratio: savedBps / resultBps };
}
