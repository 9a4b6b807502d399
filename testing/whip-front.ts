import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { AppError } from '../server/errors.ts';
import type { PublisherPeer, ViewerPeer } from '../server/rtc/peers.ts';
import { PeerStack } from '../server/rtc/peer-stack.ts';
import { testRtcOptions } from './rtc-options.ts';

/** What became of one session. */
export interface FrontSession {
  readonly kind: 'publish' | 'watch';
  readonly userAgent: string;
  readonly peer: PublisherPeer | ViewerPeer;
  /** Complete pictures that came. */
  pictures: number;
  audioPackets: number;
}

/**
 * WHIP and WHEP (RFC 9725, draft-ietf-wish-whep) just as far as clients of HTTP need them to reach this server's transports:
 * POST an offer, get the answer, DELETE to leave. For interoperation alone: no access control, no trickle, no broadcasts.
 */
export class WhipFront {
  readonly sessions: FrontSession[] = [];
  readonly errors: AppError[] = [];
  /** Sent to GET /: a page for browsers that no driver controls. */
  page = '';
  readonly #stack: PeerStack;
  readonly #server: Server;

  private constructor(address: string) {
    this.#stack = new PeerStack(testRtcOptions({ interfaceAddresses: [address] }));
    this.#stack.onError((error) => this.errors.push(error));
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => {
        response.writeHead(error instanceof AppError ? error.status : 500);
        response.end(error instanceof Error ? error.message : String(error));
      });
    });
  }

  /** @param address of the UDP sockets; HTTP listens on 127.0.0.1 */
  static async start(address = '127.0.0.1'): Promise<WhipFront> {
    const front = new WhipFront(address);
    await new Promise<void>((resolve) => front.#server.listen(0, '127.0.0.1', resolve));
    return front;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    await this.#stack.close();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '' } = request;
    const [, path = '', id = ''] = url.split('/');
    if (method === 'GET') return void response.writeHead(200, { 'content-type': 'text/html' }).end(this.page);
    const session = this.sessions[Number(id)];
    if (method === 'DELETE' && session !== undefined) {
      await session.peer.close();
      return void response.writeHead(200).end();
    }
    if (method !== 'POST' || !['whip', 'whep'].includes(path)) return void response.writeHead(404).end();
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const added = this.#open(path === 'whip' ? 'publish' : 'watch', request.headers['user-agent'] ?? '');
    const sdp = await added.peer.accept(Buffer.concat(chunks).toString());
    const location = `/${path}/${this.sessions.indexOf(added)}`;
    response.writeHead(201, { 'content-type': 'application/sdp', location }).end(sdp);
  }

  #open(kind: 'publish' | 'watch', userAgent: string): FrontSession {
    const onState = () => undefined;
    const peer =
      kind === 'publish'
        ? this.#stack.createPublisher({
            onState,
            onAccessUnit: () => (session.pictures += 1),
            onVideoPacket: () => undefined,
            onAudioPacket: () => (session.audioPackets += 1),
            onDrop: () => undefined,
          })
        : this.#stack.createViewer({ onState, onKeyframeRequest: () => undefined }, { width: 1280, height: 720 });
    const session: FrontSession = { kind, userAgent, peer, pictures: 0, audioPackets: 0 };
    this.sessions.push(session);
    return session;
  }
}
