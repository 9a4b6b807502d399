import { uint16, uint24, uint8 } from './bytes.ts';
import type { HandshakeMessage } from './fragments.ts';

/** handshake_messages: each as if it had come in one fragment (RFC 6347 section 4.2.6). Bounded by the messages' limits. */
export class Transcript {
  readonly #messages: Buffer[] = [];

  add(message: HandshakeMessage): void {
    this.#messages.push(wholeMessage(message));
  }

  bytes(): Buffer {
    return Buffer.concat(this.#messages);
  }
}

/** The message with its header, in one fragment. */
export function wholeMessage({ type, messageSequence, body }: HandshakeMessage): Buffer {
  const length = uint24(body.length);
  return Buffer.concat([uint8(type), length, uint16(messageSequence), uint24(0), length, body]);
}
