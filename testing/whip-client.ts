/** The HTTP side of a WHIP or WHEP client: what it sends is what RFC 9725 asks of it. */
export class WhipClient {
  readonly answer: string;
  /** Absolute. */
  readonly session: string;
  readonly #bearer: string | undefined;
  #etag: string;

  private constructor(answer: string, session: string, etag: string, bearer: string | undefined) {
    this.answer = answer;
    this.session = session;
    this.#etag = etag;
    this.#bearer = bearer;
  }

  /** @throws Error with the status and the problem's detail */
  static async post(url: string, offer: string, bearer?: string): Promise<WhipClient> {
    const headers = { 'content-type': 'application/sdp', ...authorization(bearer) };
    const response = await fetch(url, { method: 'POST', headers, body: offer });
    const text = await response.text();
    if (response.status !== 201) throw new Error(`${response.status} ${text}`);
    const location = response.headers.get('location') ?? '';
    return new WhipClient(text, new URL(location, url).href, response.headers.get('etag') ?? '', bearer);
  }

  get etag(): string {
    return this.#etag;
  }

  /** Trickles, or restarts ICE with `*`. */
  async patch(fragment: string, ifMatch = this.#etag): Promise<{ status: number; body: string }> {
    const response = await fetch(this.session, {
      method: 'PATCH',
      headers: {
        'content-type': 'application/trickle-ice-sdpfrag',
        'if-match': ifMatch,
        ...authorization(this.#bearer),
      },
      body: fragment,
    });
    if (response.status === 200) this.#etag = response.headers.get('etag') ?? '';
    return { status: response.status, body: await response.text() };
  }

  async delete(): Promise<number> {
    const response = await fetch(this.session, { method: 'DELETE', headers: authorization(this.#bearer) });
    await response.arrayBuffer();
    return response.status;
  }
}

function authorization(bearer: string | undefined): Record<string, string> {
  return bearer === undefined ? {} : { authorization: `Bearer ${bearer}` };
}
