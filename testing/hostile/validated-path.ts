import { randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { SignalingClient } from '../peers/signaling-client.ts';
import { plainOffer, type PlainOfferOptions } from './offers.ts';
import { checkSuccess, connectivityCheck, isStun, StunType, transactionOf, type IceCredentials } from './stun.ts';

export interface PathOptions {
  readonly kind?: 'publish' | 'watch';
  readonly offer?: PlainOfferOptions;
  /** Of the broadcast; left out, a new one. */
  readonly name?: string;
}

/**
 * What one offer and one connectivity check give to any client of a server: a session, and a UDP socket whose datagrams the
 * session takes. STUN is answered here; everything else is the test's.
 */
export class ValidatedPath {
  readonly signaling: SignalingClient;
  readonly session: string;
  readonly answer: string;
  readonly server: IceCredentials & { readonly port: number };
  /** Datagrams of the server that are not STUN. */
  readonly received: Buffer[] = [];
  onDatagram: (data: Buffer) => void = () => undefined;
  /** Answers the server's checks, and so consents to receive (RFC 7675). */
  consents = true;
  readonly #socket: Socket;

  private constructor(signaling: SignalingClient, session: string, answer: string, socket: Socket) {
    this.signaling = signaling;
    this.session = session;
    this.answer = answer;
    this.server = {
      usernameFragment: find(answer, /a=ice-ufrag:(\S+)/),
      password: find(answer, /a=ice-pwd:(\S+)/),
      port: Number(find(answer, /a=candidate:\S+ 1 udp \d+ 127\.0\.0\.1 (\d+)/)),
    };
    this.#socket = socket;
  }

  /** @param url of a server that listens on 127.0.0.1, too */
  static async open(url: string, options: PathOptions = {}): Promise<ValidatedPath> {
    const { kind = 'publish', offer = {}, name = `hostile-${randomBytes(4).toString('hex')}` } = options;
    const own: IceCredentials = { usernameFragment: 'abcd', password: 'p'.repeat(24) };
    const signaling = await SignalingClient.connect(url);
    const sdp = plainOffer({ kind, usernameFragment: own.usernameFragment, password: own.password, ...offer });
    const reply = kind === 'publish' ? await signaling.publish(name, sdp) : await signaling.watch(name, sdp);
    const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20 });
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
    const path = new ValidatedPath(signaling, reply.session, reply.sdp, socket);
    await path.#validate(own);
    return path;
  }

  send(datagram: Buffer): void {
    this.#socket.send(datagram, this.server.port, '127.0.0.1');
  }

  close(): void {
    this.signaling.terminate();
    this.#socket.close();
  }

  async #validate(own: IceCredentials): Promise<void> {
    const validated = new Promise<void>((resolve) => {
      this.#socket.on('message', (data, from) => {
        if (isStun(data, StunType.success)) resolve();
        else if (isStun(data, StunType.request) && this.consents)
          this.send(checkSuccess(transactionOf(data), from, own.password));
        else if ((data[0] as number) >= 20 && this.received.length < 1000) {
          this.received.push(data);
          this.onDatagram(data);
        }
      });
    });
    this.send(connectivityCheck(this.server, own.usernameFragment, { useCandidate: true }));
    await validated;
  }
}

function find(text: string, pattern: RegExp): string {
  const found = pattern.exec(text)?.[1];
  if (found === undefined) throw new Error(`the answer has no ${pattern.source}:\n${text}`);
  return found;
}
