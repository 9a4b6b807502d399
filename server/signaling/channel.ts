import type { AppError } from '../errors.ts';
import type { SessionSink } from '../broadcast/sessions.ts';
import type { ServerMessage } from './protocol.ts';
import { wireError } from '../wire-error.ts';
import type { BroadcastStats, SessionState, ViewerSessionStats } from '../broadcast/statistics.ts';
import type { IceCandidate } from '../rtc/peers.ts';

interface ChannelHost {
  send(message: ServerMessage): void;
  /** For what a slow client may miss. */
  sendIfIdle(message: ServerMessage): void;
  ended(session: string): void;
}

type State =
  /** The reply with the session id is not sent yet: pushes wait, because the client could not match them to a session. */
  { kind: 'early'; waiting: ((session: string) => void)[] } | { kind: 'open'; session: string } | { kind: 'closed' };

/** The way from the domain to the client of one session. */
export class SessionChannel implements SessionSink {
  readonly role: 'publish' | 'watch';
  /** Of the broadcast. */
  readonly name: string;
  readonly #host: ChannelHost;
  #state: State = { kind: 'early', waiting: [] };

  constructor(role: 'publish' | 'watch', name: string, host: ChannelHost) {
    this.role = role;
    this.name = name;
    this.#host = host;
  }

  /** The client knows the session from now on. */
  open(session: string): void {
    if (this.#state.kind !== 'early') return;
    const { waiting } = this.#state;
    this.#state = { kind: 'open', session };
    for (const push of waiting) push(session);
  }

  /** Nothing is sent any more. */
  close(): void {
    this.#state = { kind: 'closed' };
  }

  onState(state: SessionState, reason: string, error?: AppError): void {
    this.#push((session) => {
      this.#host.send({
        type: 'state',
        session,
        state,
        reason,
        ...(error === undefined ? {} : { error: wireError(error) }),
      });
      if (state !== 'ended') return;
      this.close();
      this.#host.ended(session);
    });
  }

  onStats(broadcast: BroadcastStats, viewer?: ViewerSessionStats): void {
    if (this.#state.kind !== 'open') return;
    const { session } = this.#state;
    this.#host.sendIfIdle({ type: 'stats', session, broadcast, ...(viewer === undefined ? {} : { viewer }) });
  }

  onCandidate(candidate: IceCandidate): void {
    this.#push((session) => this.#host.send({ type: 'candidate', session, candidate }));
  }

  #push(send: (session: string) => void): void {
    if (this.#state.kind === 'early') this.#state.waiting.push(send);
    else if (this.#state.kind === 'open') send(this.#state.session);
  }
}
