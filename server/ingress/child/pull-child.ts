import { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { TargetPolicy } from '../../access/target-policy.ts';
import { AppError } from '../../errors.ts';
import { RECORD_FD, type PullJob, type Report } from './messages.ts';
import { pull } from './pull.ts';
import { RecordWriter } from './record-writer.ts';

/**
 * The process that pulls one source (pull-process.ts): the job comes by standard input, records leave by a pipe. It meets whatever the
 * target sends, holds no other secret than the source's address, and ends with its standard input: the server has gone then.
 */

const ALIVE_MS = 1000;

const pipe = new Socket({ fd: RECORD_FD, readable: false, writable: true });
const out = new RecordWriter(pipe);

/** At once and for good: threads of libav may hang in a read, and an orderly exit would wait for them. */
const die = (): void => void process.kill(process.pid, 'SIGKILL');

function end(report: Report): void {
  out.report(report);
  pipe.end(die);
}

pipe.on('error', die);
process.stdin.on('end', die).on('error', die);
createInterface(process.stdin).once('line', (line) => {
  const job = JSON.parse(line) as PullJob;
  const isFile = job.url.startsWith('file:');
  let lastAtMs = performance.now();
  let damaged = 0;
  setInterval(() => {
    if (!isFile && performance.now() - lastAtMs > job.timeoutMs) {
      const error = new AppError('target.unreachable', `The source sent nothing for ${job.timeoutMs / 1000} s.`);
      end({ type: 'failed', error: error.toJSON() });
      return;
    }
    out.report({ type: 'alive', framesDropped: out.framesDropped, damaged });
  }, ALIVE_MS);
  pull(job, new TargetPolicy({ allow: job.allow }), out, {
    onPacket: () => (lastAtMs = performance.now()),
    onDamage: (packets) => (damaged += packets),
  }).then(
    () => end({ type: 'ended' }),
    (error: unknown) => end({ type: 'failed', error: AppError.from(error, 'target.answer').toJSON() }),
  );
});
