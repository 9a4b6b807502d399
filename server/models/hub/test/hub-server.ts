import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/**
 * A server that speaks the hub's HTTP: HEAD and GET on /<repository>/resolve/<revision>/<file>, redirects of large files
 * to a storage on another origin, ranges, and every way a download can go wrong.
 */
export interface Trouble {
  /** Bytes after which the storage cuts the connection, one entry per request. */
  cuts?: number[];
  /** Statuses the storage answers with first, one per request. */
  statuses?: number[];
  /** The storage ignores ranges and sends all. */
  ignoreRange?: boolean;
  /** The content differs from what the hub promised. */
  corrupt?: boolean;
  /** Sends the headers and then nothing, one per request. */
  stalls?: number;
}

export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
  readonly side: 'hub' | 'storage';
}

export class HubServer {
  readonly requests: Seen[] = [];
  readonly commit = '0123456789abcdef0123456789abcdef01234567';
  /** When set, the hub wants this token. */
  token: string | undefined;
  /** An old repository name and its new one: the hub answers with a relative redirect. */
  renamed: readonly [string, string] | undefined;
  readonly trouble = new Map<string, Trouble>();
  /** Bytes of this file that the client has written to its disk: a cut waits until a request has brought some. */
  stored: (file: string) => number = () => Infinity;
  readonly #files: ReadonlyMap<string, Buffer>;
  readonly #small: ReadonlySet<string>;
  #hub: Server | undefined;
  #storage: Server | undefined;

  /** @param files `<repository>/<file>` to content @param small those the hub serves itself, without redirect */
  constructor(files: ReadonlyMap<string, Buffer>, small: ReadonlySet<string> = new Set()) {
    this.#files = files;
    this.#small = small;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#hub?.address() as AddressInfo).port}`;
  }

  async start(): Promise<void> {
    this.#hub = await listen((request, response) => this.#answerHub(request, response));
    this.#storage = await listen((request, response) => this.#answerStorage(request, response));
  }

  async stop(): Promise<void> {
    for (const server of [this.#hub, this.#storage]) {
      server?.closeAllConnections();
      await new Promise((resolve) => server?.close(resolve));
    }
  }

  #note(side: Seen['side'], { method = '', url = '', headers }: IncomingMessage): void {
    const { range, authorization } = headers;
    this.requests.push({ side, method, path: url, range, authorization });
  }

  #answerHub(request: IncomingMessage, response: ServerResponse): void {
    this.#note('hub', request);
    const { url = '', headers } = request;
    if (this.renamed !== undefined && url.startsWith(`/${this.renamed[0]}/`)) {
      response.writeHead(307, { location: url.replace(this.renamed[0], this.renamed[1]) }).end();
      return;
    }
    if (this.token !== undefined && headers.authorization !== `Bearer ${this.token}`) {
      response.writeHead(401).end('Invalid credentials');
      return;
    }
    const match = /^\/(.+)\/resolve\/([^/]+)\/([^/]+)$/.exec(url);
    const key = `${match?.[1]}/${match?.[3]}`;
    const content = this.#files.get(key);
    if (content === undefined) {
      response.writeHead(404).end('Entry not found');
      return;
    }
    const facts = { 'x-repo-commit': this.commit, 'accept-ranges': 'bytes' };
    if (this.#small.has(key)) {
      const blob = createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex');
      response.writeHead(200, { ...facts, etag: `"${blob}"`, 'content-length': content.length });
      response.end(request.method === 'HEAD' ? undefined : content);
      return;
    }
    const port = (this.#storage?.address() as AddressInfo).port;
    response.writeHead(302, {
      ...facts,
      'x-linked-etag': `"${createHash('sha256').update(content).digest('hex')}"`,
      'x-linked-size': content.length,
      location: `http://127.0.0.1:${port}/store/${key}?signature=secret`,
    });
    response.end();
  }

  #answerStorage(request: IncomingMessage, response: ServerResponse): void {
    this.#note('storage', request);
    const key = decodeURIComponent((request.url ?? '').replace(/^\/store\//, '').replace(/\?.*$/, ''));
    const original = this.#files.get(key);
    if (original === undefined) {
      response.writeHead(404).end();
      return;
    }
    const trouble = this.trouble.get(key) ?? {};
    const status = trouble.statuses?.shift();
    if (status !== undefined) {
      response.writeHead(status).end();
      return;
    }
    const content = Buffer.from(original);
    if (trouble.corrupt === true) content.writeUInt8(content.readUInt8(content.length >> 1) ^ 1, content.length >> 1);
    const asked = /^bytes=(\d+)-$/.exec(request.headers.range ?? '');
    const start = asked === null || trouble.ignoreRange === true ? 0 : Number(asked[1]);
    if (start >= content.length) {
      response.writeHead(416).end();
      return;
    }
    const part = content.subarray(start);
    response.writeHead(start > 0 ? 206 : 200, {
      'content-length': part.length,
      ...(start > 0 ? { 'content-range': `bytes ${start}-${content.length - 1}/${content.length}` } : {}),
    });
    if (trouble.stalls !== undefined && trouble.stalls > 0) {
      trouble.stalls -= 1;
      response.write(part.subarray(0, 1000));
      return;
    }
    const cut = trouble.cuts?.shift();
    if (cut === undefined) response.end(part);
    else {
      const name = key.slice(key.lastIndexOf('/') + 1);
      const timer = setInterval(() => this.stored(name) > start && response.destroy(), 5);
      response.once('close', () => clearInterval(timer));
      response.write(part.subarray(0, cut));
    }
  }
}

async function listen(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<Server> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}
