import { rmSync } from 'node:fs';
import { STANDARD } from '../codec/standard-streams.ts';
import { AppError } from '../errors.ts';
import type { FromUpscaleChild, UpscaleJobMessage } from './isolated-upscale.ts';
import { settle } from './kept-folder.ts';
import { upscaleInto } from './upscale-file.ts';

/** The process that upscales one file (isolated-upscale.ts): one job comes by message, progress and the result go back. */

const send = (message: FromUpscaleChild): void => void process.send?.(message);

/** Leaves once the message is on its way: an engine's threads may still be there. */
const end = (message: FromUpscaleChild): void => void process.send?.(message, () => process.exit(0));

process.once('message', ({ input, target, options }: UpscaleJobMessage) => {
  // The parent was killed: what it cannot remove any more is removed here.
  process.once('disconnect', () => {
    if (target.keep !== undefined) settle(target.keep);
    if (target.name !== STANDARD && target.part !== target.keep?.folder) {
      rmSync(target.part, { recursive: true, force: true });
    }
    process.exit(1);
  });
  void upscaleInto(input, target, {
    ...options,
    progress: (frames) => {
      send({ type: 'total', frames });
      return {
        update: (done) => send({ type: 'update', frames: done }),
        kept: (done, before) => send({ type: 'kept', frames: done, before }),
        say: (words) => send({ type: 'say', words }),
        finish: (done) => send({ type: 'finish', frames: done }),
        stop: () => undefined,
      };
    },
  }).then(
    (result) => end({ type: 'done', result }),
    (error: unknown) => end({ type: 'failed', error: AppError.from(error).toJSON() }),
  );
});
