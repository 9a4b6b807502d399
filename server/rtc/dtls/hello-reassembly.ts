import { Reassembly, type Fragment, type HandshakeMessage } from './fragments.ts';
import { MAX_HELLO_SEQUENCE } from './limits.ts';

/** Puts a ClientHello together, which, unlike other messages, may come at any time before the peer's keys are in use. */
export class HelloReassembly {
  #messages: Reassembly | undefined;

  /** @returns the message when it is whole; `refused` for a fragment that is out of place */
  add(fragment: Fragment): HandshakeMessage | 'refused' | undefined {
    const { messageSequence } = fragment;
    if (messageSequence > MAX_HELLO_SEQUENCE) return 'refused';
    if (this.#messages?.next !== messageSequence) this.#messages = new Reassembly(messageSequence);
    const kept = this.#messages.add(fragment) === 'kept';
    const message = this.#messages.peek();
    if (message === undefined) return kept ? undefined : 'refused';
    this.#messages = undefined;
    return message;
  }

  clear(): void {
    this.#messages = undefined;
  }
}
