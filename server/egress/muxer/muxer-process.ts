import { fork, type ChildProcess } from 'node:child_process';
import { childEnvironment } from '../../access/child-environment.ts';
import { AppError } from '../../errors.ts';
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

const CHILD = new URL('./boot.mjs', import.meta.url);
const STALL_MS = 15_000;
/** Loading takes half a second; on a machine that is very busy, many. */
const LOAD_MS = 60_000;
/** A process whose last session has ended leaves by itself. */
const LEAVE_MS = 5_000;

/** A child that runs, and what is known of it. */
interface Running {
  readonly child: ChildProcess;
  loaded: boolean;
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
  #watch: NodeJS.Timeout | undefined;

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
      { send: (message) => this.#send(running, message), kill: () => running.child.kill('SIGKILL') },
      listener,
    );
    this.#nextId += 1;
    this.#sessions.set(session.id, session);
    void session.ended.then(() => this.#onSessionEnded(session.id));
    this.#send(running, { type: 'open', session: session.id, target });
    return session;
  }

  #start(): Running {
    // Bytes travel as they are: JSON would make numbers of them.
    const child = fork(this.#options.program ?? CHILD, {
      execArgv: [],
      env: childEnvironment(),
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    const running: Running = { child, loaded: false, reason: undefined };
    child.on('message', (message: FromMuxer) => {
      running.loaded = true;
      if (this.#running !== running) return;
      this.#rearm();
      if (message.type !== 'ready') this.#sessions.get(message.session)?.onMessage(message);
    });
    child.once('error', (cause) => this.#onExit(running, cause.message));
    // 'close' follows 'exit' when the last message has been read.
    child.once('close', (code, signal) => this.#onExit(running, signal ?? `exit code ${code}`));
    return running;
  }

  #send({ child }: Running, message: ToMuxer): void {
    if (child.connected) child.send(message, () => undefined);
    if (this.#watch === undefined) this.#rearm();
  }

  /** The time runs from the last sign of life, while something is waited for. */
  #rearm(): void {
    clearTimeout(this.#watch);
    this.#watch = undefined;
    const running = this.#running;
    if (running === undefined) return;
    if (running.loaded && ![...this.#sessions.values()].some(({ waits }) => waits)) return;
    const withinMs = running.loaded ? (this.#options.stallMs ?? STALL_MS) : LOAD_MS;
    this.#watch = setTimeout(() => {
      running.reason = new AppError(
        'output.target',
        `${this.#options.label} has taken nothing for ${withinMs / 1000} s: its disk or its connection hangs.`,
      );
      running.child.kill('SIGKILL');
    }, withinMs).unref();
  }

  #onExit(running: Running, how: string): void {
    if (this.#running !== running) return;
    this.#forget();
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
    this.#forget();
    if (running.child.connected) running.child.disconnect();
    const timer = setTimeout(() => running.child.kill('SIGKILL'), LEAVE_MS);
    running.child.once('exit', () => clearTimeout(timer));
  }

  #forget(): void {
    this.#running = undefined;
    clearTimeout(this.#watch);
    this.#watch = undefined;
  }
}
