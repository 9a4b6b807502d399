import { AppError } from '../../errors.ts';
import { CameraSession } from './camera-session.ts';
import { failureOf } from './failure.ts';
import type { CameraTarget, FromMuxer, MuxTarget, ToMuxer } from './messages.ts';
import { MuxSession, type MuxListener } from './mux-session.ts';
import { HlsOutput } from './hls-output.ts';
import { PushOutput } from './push-output.ts';
import { RecordingOutput } from './recording-output.ts';

/** The process that muxes (muxer-process.ts): sessions come by message, and what becomes of them goes back. */

interface Session {
  readonly target: MuxTarget;
  readonly mux: MuxSession | CameraSession;
}

const sessions = new Map<number, Session>();
/** The server may be gone: then 'disconnect' says so. */
const send = (message: FromMuxer): void => void process.send?.(message, undefined, {}, () => undefined);

function outputOf(target: Exclude<MuxTarget, CameraTarget>): RecordingOutput | HlsOutput | PushOutput {
  switch (target.kind) {
    case 'recording':
      return new RecordingOutput(target);
    case 'hls':
      return new HlsOutput(target);
    case 'push':
      return new PushOutput(target);
  }
}

function open(id: number, target: MuxTarget): void {
  /** @param label of a recording: the file that is open then */
  const listener = (label: () => string): MuxListener => ({
    onRunning: () => send({ type: 'running', session: id, target: label() }),
    onNeedKeyframe: () => send({ type: 'needKeyframe', session: id }),
  });
  if (target.kind === 'camera') {
    sessions.set(id, {
      target,
      mux: new CameraSession(
        target,
        listener(() => target.device),
      ),
    });
    return;
  }
  const output = outputOf(target);
  sessions.set(id, {
    target,
    mux: new MuxSession(
      output,
      listener(() => output.label),
    ),
  });
}

/** What throws ends this session alone. */
function act(id: number, what: (session: Session) => void): void {
  const session = sessions.get(id);
  if (session === undefined) return;
  try {
    what(session);
  } catch (thrown) {
    sessions.delete(id);
    session.mux.abandon();
    send({ type: 'failed', session: id, error: failureOf(thrown, session.target).toJSON() });
  }
}

function close(id: number): void {
  act(id, ({ mux }) => {
    mux.close();
    sessions.delete(id);
    send({ type: 'closed', session: id });
  });
}

process.on('message', (message: ToMuxer) => {
  switch (message.type) {
    case 'open':
      open(message.session, message.target);
      break;
    case 'sound':
      act(message.session, ({ mux }) => mux.expectSound(message.expected));
      break;
    case 'media':
      act(message.session, ({ mux }) => mux.handle(message.item));
      send({ type: 'taken', session: message.session });
      break;
    case 'close':
      close(message.session);
      break;
  }
});
// The server ends its sessions and then the channel. When it was killed, what is open is completed here.
process.once('disconnect', () => {
  for (const id of [...sessions.keys()]) close(id);
  process.exit(0);
});
// Of a terminal or a service manager, which mean the server: it ends its sessions itself.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);
process.once('uncaughtException', (error: unknown) => {
  process.stderr.write(`${AppError.from(error).stack ?? ''}\n`);
  process.exit(1);
});

send({ type: 'ready' });
