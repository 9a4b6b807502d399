/**
 * Candidates found after the offer, as application/trickle-ice-sdpfrag (RFC 8840 section 9): with the credentials of the
 * offer, and under its first section, whose transport is that of the bundle.
 * @param offer our own
 * @param candidates candidate-attribute values without `a=`
 */
export function candidateFragment(offer: string, candidates: readonly string[]): string {
  const first = (line: RegExp): string[] => line.exec(offer)?.slice(0, 1) ?? [];
  const lines = [
    ...first(/^a=ice-ufrag:.*$/m),
    ...first(/^a=ice-pwd:.*$/m),
    ...first(/^m=.*$/m),
    ...first(/^a=mid:.*$/m),
    ...candidates.map((candidate) => `a=${candidate}`),
  ];
  return lines.map((line) => `${line.trimEnd()}\r\n`).join('');
}
