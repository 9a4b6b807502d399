import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface RelayRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface RelayReply {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** `hang`: never an answer; `drop`: the connection ends. Left out: as a strict relay. */
export type RelayScript = RelayReply | 'hang' | 'drop' | undefined;

export interface RelayOptions {
  /** The answer to an offer; a test without media leaves it out. */
  readonly take?: (offer: string) => Promise<string>;
  readonly bearer?: string;
  /** What its clients do with the media: `sendonly` publishes (WHIP), `recvonly` plays (WHEP). */
  readonly direction?: 'sendonly' | 'recvonly';
}

/**
 * The far side of WHIP push-out and of WHEP sources, as strict as MediaMTX's server: the type to the letter, one section of a kind, a bearer token,
 * `*` as entity tag, GET and PATCH refused, a relative Location. A test may script what it answers in its place.
 */
export class RelayDouble {
  readonly requests: RelayRequest[] = [];
  /** By number of the request; what it leaves open is answered by the rules. */
  script: (request: RelayRequest, number: number) => RelayScript = () => undefined;
  /** Sessions that were made and not deleted. */
  readonly sessions = new Set<string>();
  #port = 0;
  readonly #server: Server;
  readonly #options: RelayOptions;

  private constructor(options: RelayOptions) {
    this.#options = options;
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const { method = '', url = '', headers } = request;
        void this.#answer({ method, path: url, headers, body: Buffer.concat(chunks).toString() }, response);
      });
    });
  }

  static async start(options: RelayOptions = {}): Promise<RelayDouble> {
    const relay = new RelayDouble(options);
    await new Promise<void>((resolve) => relay.#server.listen(0, '127.0.0.1', resolve));
    relay.#port = (relay.#server.address() as AddressInfo).port;
    return relay;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}/live/whip`;
  }

  close(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  async #answer(request: RelayRequest, response: ServerResponse): Promise<void> {
    this.requests.push(request);
    const scripted = this.script(request, this.requests.length - 1);
    if (scripted === 'hang') return;
    if (scripted === 'drop') {
      response.destroy();
      return;
    }
    const { status, headers = {}, body = '' } = scripted ?? (await this.#byRules(request));
    response.writeHead(status, headers).end(body);
  }

  async #byRules({ method, path, headers, body }: RelayRequest): Promise<RelayReply> {
    const { bearer, take, direction = 'sendonly' } = this.#options;
    if (bearer !== undefined && headers.authorization !== `Bearer ${bearer}`) return { status: 401 };
    if (method === 'DELETE') return { status: this.sessions.delete(path) ? 200 : 404 };
    if (method !== 'POST') return { status: 405 };
    const problem =
      headers['content-type'] === 'application/sdp' ? problemOf(body, direction) : 'the type is not application/sdp';
    if (problem !== undefined) return { status: 400, headers: { 'content-type': 'text/plain' }, body: problem };
    const session = `/live/whip/${this.requests.length}`;
    try {
      const answer = (await take?.(body)) ?? '';
      this.sessions.add(session);
      const type = { 'content-type': 'application/sdp', etag: '*' };
      return { status: 201, headers: { ...type, location: session.slice('/live/'.length) }, body: answer };
    } catch (error) {
      return { status: 400, headers: { 'content-type': 'text/plain' }, body: (error as Error).message };
    }
  }
}

/** What a strict server finds wrong with an offer (RFC 9725 section 4.4). */
function problemOf(offer: string, direction: string): string | undefined {
  const [session = '', ...sections] = offer.split(/^(?=m=)/m);
  const kinds = sections.map((section) => section.slice(2, 7));
  if (new Set(kinds).size !== kinds.length) return 'more than one section of a kind';
  if (!session.includes(`a=group:BUNDLE ${sections.map((_, index) => index).join(' ')}\r\n`)) return 'not bundled';
  for (const line of [`a=${direction}`, 'a=rtcp-mux', 'a=setup:actpass', 'a=fingerprint:sha-256 ', 'a=ice-ufrag:']) {
    if (!sections.every((section) => section.includes(line))) return `a section without ${line}`;
  }
  if (!/^a=candidate:/m.test(offer) || !/^a=end-of-candidates/m.test(offer)) return 'candidates to come';
  return undefined;
}
