import type { TargetPolicy } from '../../access/target-policy.ts';
import { AppError } from '../../errors.ts';
import type { Input } from './input.ts';
import type { PullJob } from './messages.ts';
import { openSource } from './open-source.ts';
import { Pacer } from './pacer.ts';
import type { RecordWriter } from './record-writer.ts';
import { StreamPump, type PumpOptions } from './stream-pump.ts';
import { Timeline } from './timeline.ts';

/** A file that plays shorter than this would be opened again all the time. */
const SHORTEST_LOOP_SECONDS = 0.2;

export interface PullProgress {
  /** The source has sent something. */
  readonly onPacket: () => void;
  readonly onDamage: (packets: number) => void;
}

/**
 * Pulls one source until it ends; a file begins again.
 * @throws AppError target.refused | target.unreachable | target.answer | file.unreadable | media.unsupported
 */
export async function pull(
  job: PullJob,
  policy: TargetPolicy,
  out: Pick<RecordWriter, 'video' | 'audio' | 'report'>,
  { onPacket, onDamage }: PullProgress,
): Promise<void> {
  const timeline = new Timeline();
  const pacer = new Pacer();
  const loops = new URL(job.url).protocol === 'file:';
  for (let pass = 0; pass === 0 || loops; pass += 1) {
    const input = await openSource(job, policy);
    const beganAt = timeline.endSeconds;
    if (pass > 0) timeline.join(startOf(input));
    try {
      const { maxPixels } = job;
      const { failure, paced } = input;
      const options = { out, timeline, pacer: paced ? pacer : undefined, maxPixels, onPacket, failure };
      await play(
        input,
        options,
        (hasAudio, notices) => {
          if (pass === 0) out.report({ type: 'opened', hasAudio, notices });
        },
        onDamage,
      );
    } finally {
      await input.close();
    }
    if (loops && timeline.endSeconds - beganAt < SHORTEST_LOOP_SECONDS) {
      throw new AppError(
        'file.unreadable',
        `The file plays for less than ${SHORTEST_LOOP_SECONDS} s and cannot be looped.`,
      );
    }
  }
}

async function play(
  input: Input,
  options: PumpOptions,
  onOpened: (hasAudio: boolean, notices: readonly string[]) => void,
  onDamage: PullProgress['onDamage'],
): Promise<void> {
  const pumps: StreamPump[] = [];
  try {
    for (const [index, format] of input.formats.entries()) {
      const wanted = {
        video: !pumps.some(({ hasVideo }) => hasVideo),
        audio: !pumps.some(({ hasAudio }) => hasAudio),
      };
      pumps.push(new StreamPump(format, String(index), wanted, { ...options, times: input.times?.get(format) }));
    }
    if (!pumps.some(({ hasVideo }) => hasVideo)) {
      throw new AppError('media.unsupported', 'The source has no video.');
    }
    const notices = [...input.notices, ...pumps.flatMap((pump) => pump.notices)];
    onOpened(
      pumps.some(({ hasAudio }) => hasAudio),
      notices,
    );
    const running = pumps.map((pump) => pump.run());
    try {
      await Promise.all(running);
    } finally {
      input.stop();
      await Promise.allSettled(running);
    }
  } finally {
    onDamage(pumps.reduce((sum, { damaged }) => sum + damaged, 0));
    for (const pump of pumps) pump.close();
  }
}

function startOf({ formats }: Input): number {
  const start = formats[0]?.startTime ?? 0n;
  // AV_NOPTS_VALUE is negative and far off.
  return start > -1_000_000_000n ? Number(start) / 1e6 : 0;
}
