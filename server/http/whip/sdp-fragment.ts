import { AppError } from '../../errors.ts';
import type { IceParameters } from '../../rtc/peers.ts';

/** application/trickle-ice-sdpfrag (RFC 8840 section 9), as far as one bundled transport needs it. Work is linear in the text. */
export interface SdpFragment {
  /** Of the whole fragment or of its sections; a bundle has one. */
  readonly credentials: { readonly usernameFragment: string; readonly password: string } | undefined;
  /** Without `a=`. */
  readonly candidates: readonly string[];
}

const MAX_LINES = 256;
const MAX_LINE_CHARACTERS = 1024;
const MAX_CANDIDATES = 64;

function malformed(message: string): AppError {
  return new AppError('sdp.invalid', message, { remedy: 'Send a fragment as RFC 8840 section 9 describes it.' });
}

/** @throws AppError sdp.invalid, naming the line or the limit */
export function parseSdpFragment(text: string): SdpFragment {
  const lines = text.split('\n').map((line) => line.replace(/\r$/, ''));
  while (lines.at(-1) === '') lines.pop();
  if (lines.length === 0) throw malformed('The fragment is empty.');
  if (lines.length > MAX_LINES) throw malformed(`The fragment has more than ${MAX_LINES} lines.`);
  const candidates: string[] = [];
  const values = { 'ice-ufrag': new Set<string>(), 'ice-pwd': new Set<string>() };
  for (const line of lines) {
    if (line.length > MAX_LINE_CHARACTERS || !/^[a-z]=/.test(line)) {
      throw malformed(
        `The line "${line.slice(0, 60)}" is not of the form x=value with at most ${MAX_LINE_CHARACTERS} characters.`,
      );
    }
    const [, name = '', value = ''] = /^a=([\w-]+):?(.*)$/.exec(line) ?? [];
    if (name === 'ice-ufrag' || name === 'ice-pwd') values[name].add(value.trim());
    if (name === 'candidate') candidates.push(candidateOf(value));
  }
  if (candidates.length > MAX_CANDIDATES) throw malformed(`The fragment has more than ${MAX_CANDIDATES} candidates.`);
  return { credentials: credentialsOf(values), candidates };
}

/** MediaMTX writes a=candidate:candidate:... */
function candidateOf(value: string): string {
  return `candidate:${value.replace(/^candidate:/, '')}`;
}

function credentialsOf(
  values: Readonly<Record<'ice-ufrag' | 'ice-pwd', ReadonlySet<string>>>,
): SdpFragment['credentials'] {
  const [usernameFragment, ...otherFragments] = values['ice-ufrag'];
  const [password, ...otherPasswords] = values['ice-pwd'];
  if (otherFragments.length + otherPasswords.length > 0) throw malformed('The fragment has more than one ICE user.');
  if (usernameFragment === undefined && password === undefined) return undefined;
  if (usernameFragment === undefined || password === undefined) {
    throw malformed('The fragment has one of a=ice-ufrag and a=ice-pwd; it needs both or neither.');
  }
  return { usernameFragment, password };
}

/**
 * Our side after an ICE restart.
 * @param section the m= and a=mid lines of the answer's first section, where its candidates were
 */
export function buildSdpFragment(
  { usernameFragment, password, candidates }: IceParameters,
  section: readonly string[],
): string {
  const lines = [
    'a=ice-options:trickle',
    `a=ice-ufrag:${usernameFragment}`,
    `a=ice-pwd:${password}`,
    ...section,
    ...candidates.map((candidate) => `a=${candidate}`),
    'a=end-of-candidates',
  ];
  return `${lines.join('\r\n')}\r\n`;
}

/** The lines that buildSdpFragment() repeats. @param answer our own */
export function firstSection(answer: string): readonly string[] {
  const line = /^m=\S+ 9 .*$/m.exec(answer);
  const mid = line === null ? null : /^a=mid:.*$/m.exec(answer.slice(line.index));
  return [line?.[0], mid?.[0]].flatMap((text) => text?.trim() ?? []);
}

/** @returns every a=ice-ufrag of an offer */
export function usernameFragmentsOf(offer: string): ReadonlySet<string> {
  return new Set([...offer.matchAll(/^a=ice-ufrag:(\S{1,256})/gm)].map(([, value = '']) => value));
}
