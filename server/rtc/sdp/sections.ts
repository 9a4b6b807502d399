import { AppError } from '../../errors.ts';

/**
 * SDP text cut into its sections (RFC 8866 section 5), in one pass over the lines. Every limit is far above what any client
 * sends (the longest offer at hand, Chromium's with all codecs, has 12 kB and 350 lines) and bounds what is done with the text.
 */

const MAX_CHARACTERS = 64 * 1024;
const MAX_LINES = 2000;
const MAX_LINE_CHARACTERS = 4096;
const MAX_SECTIONS = 32;

/** Attributes that are read, with the most lines that one section may have of each. Others are only counted as lines. */
const MAX_ATTRIBUTE_LINES: ReadonlyMap<string, number> = new Map([
  ['group', 8],
  ['mid', 1],
  ['msid', 16],
  ['sendonly', 1],
  ['recvonly', 1],
  ['sendrecv', 1],
  ['inactive', 1],
  ['bundle-only', 1],
  ['rtcp-mux', 1],
  ['rtcp-mux-only', 1],
  ['rtcp-rsize', 1],
  ['ice-lite', 1],
  ['ice-ufrag', 4],
  ['ice-pwd', 4],
  ['setup', 4],
  ['fingerprint', 16],
  ['rtpmap', 256],
  ['fmtp', 256],
  ['rtcp-fb', 1024],
  ['extmap', 64],
  ['candidate', 64],
  ['rid', 16],
  ['simulcast', 2],
  ['ssrc', 256],
  ['ssrc-group', 64],
]);

/** Flags mean the same however often they are repeated. */
const isFlag = (maximum: number): boolean => maximum === 1;

function invalid(message: string): AppError {
  return new AppError('sdp.invalid', message);
}

/** The session's lines, or a media section's. */
export class SdpSection {
  /** The m= line; empty for the session. */
  readonly line: string;
  readonly #attributes = new Map<string, string[]>();

  constructor(line: string) {
    this.line = line;
  }

  /** @param line a=name or a=name:value. @throws AppError sdp.invalid when there are too many of one name */
  add(line: string): void {
    const colon = line.indexOf(':');
    const name = colon < 0 ? line.slice(2) : line.slice(2, colon);
    const maximum = MAX_ATTRIBUTE_LINES.get(name);
    if (maximum === undefined) return;
    const values = this.#attributes.get(name);
    if (values === undefined) this.#attributes.set(name, [colon < 0 ? '' : line.slice(colon + 1)]);
    else if (values.length < maximum) values.push(line.slice(colon + 1));
    else if (!isFlag(maximum)) throw invalid(`A section of the SDP has more than ${maximum} a=${name} lines.`);
  }

  has(name: string): boolean {
    return this.#attributes.has(name);
  }

  first(name: string): string | undefined {
    return this.#attributes.get(name)?.[0];
  }

  all(name: string): readonly string[] {
    return this.#attributes.get(name) ?? [];
  }
}

/** @throws AppError sdp.invalid, naming the line or the limit */
export function splitSections(sdp: string): { readonly session: SdpSection; readonly media: readonly SdpSection[] } {
  if (typeof sdp !== 'string' || sdp.length > MAX_CHARACTERS) {
    throw invalid(`The SDP must be text of at most ${MAX_CHARACTERS} characters.`);
  }
  // By strings: a regular expression's split tries every character once RegExp.prototype has been touched, as tests do.
  const lines = sdp
    .replaceAll('\r', '\n')
    .split('\n')
    .filter((line) => line !== '');
  if (lines[0] !== 'v=0') throw invalid('The SDP does not begin with "v=0".');
  if (lines.length > MAX_LINES) throw invalid(`The SDP has ${lines.length} lines; at most ${MAX_LINES} are read.`);
  const session = new SdpSection('');
  const media: SdpSection[] = [];
  for (const line of lines) {
    if (line.length > MAX_LINE_CHARACTERS) {
      throw invalid(`The SDP line "${line.slice(0, 40)}..." is longer than ${MAX_LINE_CHARACTERS} characters.`);
    }
    if (!/^[a-z]=/.test(line.slice(0, 2))) {
      throw invalid(`The SDP line "${line.slice(0, 40)}" is not of the form x=value.`);
    }
    if (line.startsWith('m=')) {
      if (media.length === MAX_SECTIONS) throw invalid(`The SDP has more than ${MAX_SECTIONS} media sections.`);
      media.push(new SdpSection(line));
    } else if (line.startsWith('a=')) {
      (media.at(-1) ?? session).add(line);
    }
  }
  return { session, media };
}
