import { AppError } from '../../errors.ts';

const MAX_HEAD_BYTES = 32 * 1024;
const DOLLAR = 0x24;
const END_OF_HEAD = '\r\n\r\n';

/** The target is at another address: the caller checks it and opens it itself. */
export class RtspRedirect extends AppError {
  readonly location: string;

  constructor(location: string) {
    super('target.refused', 'The target redirects.');
    this.location = location;
  }
}

/**
 * Reads along what an RTSP server answers (RFC 2326), whose client is libav: libav would follow a redirect, or send to the address that
 * a Transport header names, without a check. Redirects end the connection here, and Transport headers lose foreign addresses.
 */
export class RtspFilter {
  #waiting: Buffer = Buffer.alloc(0);
  /** Of a body or an interleaved packet that passes through. */
  #passing = 0;

  /** @throws RtspRedirect | AppError target.answer */
  push(chunk: Buffer): Buffer {
    this.#waiting = this.#waiting.length === 0 ? chunk : Buffer.concat([this.#waiting, chunk]);
    const out: Buffer[] = [];
    while (this.#waiting.length > 0) {
      if (this.#passing > 0) {
        out.push(this.#take(this.#passing));
        this.#passing -= out.at(-1)?.length ?? 0;
        continue;
      }
      if (this.#waiting[0] === DOLLAR) {
        // Interleaved (section 10.12): $, channel, 16-bit length.
        if (this.#waiting.length < 4) break;
        this.#passing = 4 + this.#waiting.readUInt16BE(2);
        continue;
      }
      const end = this.#waiting.indexOf(END_OF_HEAD);
      if (end < 0 && this.#waiting.length > MAX_HEAD_BYTES)
        throw new AppError('target.answer', 'The RTSP answer has no end.');
      if (end < 0) break;
      out.push(Buffer.from(this.#checked(this.#take(end + END_OF_HEAD.length).toString('latin1')), 'latin1'));
    }
    return Buffer.concat(out);
  }

  #take(bytes: number): Buffer {
    const part = this.#waiting.subarray(0, bytes);
    this.#waiting = this.#waiting.subarray(part.length);
    return part;
  }

  #checked(head: string): string {
    const [first = '', ...lines] = head.slice(0, -END_OF_HEAD.length).split('\r\n');
    // libav takes bare line feeds, a $ in front of a line and the last of two lengths for more than RFC 2326 does: what it would read
    // in another way than this reads it does not pass.
    const lengths = lines.filter((line) => /^content-length/i.test(line));
    if (lengths.length > 1 || lines.some((line) => !/^[^$\s\r\n][^\r\n]*$/.test(line))) {
      throw new AppError('target.answer', 'The RTSP answer has a malformed header.');
    }
    const value = (name: string): string | undefined =>
      lines
        .find((line) => line.toLowerCase().startsWith(`${name}:`))
        ?.slice(name.length + 1)
        .trim();
    const status = /^RTSP\/1\.0 (\d{3})\b/.exec(first)?.[1];
    // Requests of the server: REDIRECT (section 10.10) is one.
    if (status === undefined && !/^(OPTIONS|GET_PARAMETER|SET_PARAMETER|ANNOUNCE) \S+ RTSP\/1\.0$/.test(first)) {
      throw new AppError('target.answer', 'The target does not answer in RTSP.');
    }
    if (status?.startsWith('3') === true) throw new RtspRedirect(value('location') ?? '');
    const length = value('content-length') ?? '0';
    if (!/^\d{1,6}$/.test(length)) throw new AppError('target.answer', 'The RTSP answer has an impossible length.');
    this.#passing = Number(length);
    return [first, ...lines.map(withoutAddresses)].join('\r\n') + END_OF_HEAD;
  }
}

/** @throws AppError target.answer: multicast sends to an address that the target chooses */
function withoutAddresses(line: string): string {
  if (!/^transport\s*:/i.test(line)) return line;
  if (/multicast/i.test(line)) throw new AppError('target.answer', 'The target answers with multicast.');
  return line.replace(/;\s*(source|destination)\s*=[^;,]*/gi, '');
}
