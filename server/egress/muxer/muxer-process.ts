import { childEnvironment } from '../../access/child-environment.ts';
import { AppError } from '../../errors.ts';
import { SupervisedChild } from '../../supervised-child.ts';
import type { FromMuxer, MuxTarget, ToMuxer } from './messages.ts';
import { MuxerSession, type MuxerListener } from './muxer-session.ts';

export interface MuxerProcessOptions {
  /** What it writes, for messages: `the output "archive"`. */
  readonly label: string;
  /** Something that is not taken within this time: the disk or the connection hangs, and the process is ended. */
  readonly stallMs?: number;
  /** For tests: another program in its place. */
  readonly program?: URL;
}

const CHILD = new URL('./child.ts', import.meta.url);
const STALL_MS = 15_000;
/** Loading takes half a second; on a machine that is very busy, many. */
const LOAD_MS = 60_000;
/** A process whose last session has ended leaves by itself. */
const LEAVE_MS = 5_000;

/** A child that runs, and what is known of it. */
interface Running {
  readonly child: SupervisedChild;
  loaded: boolean;
  /** A sign of life is due. */
  waited: boolean;
  /** Why it was ended by us. */
  reason: AppError | undefined;
}

/**
 * A process that writes containers to disks and servers with FFmpeg. What hangs there (a disk, a connection) hangs a process of
 * its own, which is then ended; what crashes there ends no broadcast. It runs while it has sessions.
 */
export class MuxerProcess {
  readonly #options: MuxerProcessOptions;
  readonly #sessions = new Map<number, MuxerSession>();
  #running: Running | undefined;
  #nextId = 1;

  constructor(options: MuxerProcessOptions) {
    this.#options = options;
  }

  get pid(): number | undefined {
    return this.#running?.child.pid;
  }

  open(target: MuxTarget, listener: MuxerListener): MuxerSession {
    const running = (this.#running ??= this.#start());
    const session = new MuxerSession(
      this.#nextId,
      { send: (message) => this.#send(running, message), kill: () => running.child.kill() },
      listener,
    );
    this.#nextId += 1;
    this.#sessions.set(session.id, session);
    void session.ended.then(() => this.#onSessionEnded(session.id));
    this.#send(running, { type: 'open', session: session.id, target });
    return session;
  }

  #start(): Running {
    const child = new SupervisedChild({
      module: this.#options.program ?? CHILD,
      env: childEnvironment(),
      // Bytes travel as they are: JSON would make numbers of them.
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      onMessage: (message) => this.#onMessage(running, message as FromMuxer),
    });
    const running: Running = { child, loaded: false, waited: false, reason: undefined };
    void child.ended.then(({ how }) => this.#onExit(running, how));
    return running;
  }

  #onMessage(running: Running, message: FromMuxer): void {
    running.loaded = true;
    if (this.#running !== running) return;
    this.#rearm(running);
    if (message.type !== 'ready') this.#sessions.get(message.session)?.onMessage(message);
  }

  #send(running: Running, message: ToMuxer): void {
    running.child.send(message);
    if (!running.waited) this.#rearm(running);
  }

  /** The time runs from the last sign of life, while something is waited for. */
  #rearm(running: Running): void {
    running.waited = !running.loaded || [...this.#sessions.values()].some(({ waits }) => waits);
    const withinMs = running.loaded ? (this.#options.stallMs ?? STALL_MS) : LOAD_MS;
    running.child.limit(running.waited ? withinMs : undefined, () => {
      running.reason = new AppError(
        'output.target',
        `${this.#options.label} has taken nothing for ${withinMs / 1000} s: its disk or its connection hangs.`,
      );
      running.child.kill();
    });
  }

  #onExit(running: Running, how: string): void {
    if (this.#running !== running) return;
    this.#running = undefined;
    const crashed = `The process that writes ${this.#options.label} ended (${how}).`;
    const error = running.reason ?? new AppError('output.crashed', crashed);
    const sessions = [...this.#sessions.values()];
    this.#sessions.clear();
    for (const session of sessions) session.fail(error);
  }

  #onSessionEnded(id: number): void {
    this.#sessions.delete(id);
    const running = this.#running;
    if (running === undefined || this.#sessions.size > 0) return;
    this.#running = undefined;
    running.child.disconnect();
    running.child.limit(LEAVE_MS);
  }
}
