import { AppError } from '../errors.ts';
import type { FromUpscaleChild, UpscaleJobMessage } from './isolated-upscale.ts';
import { upscaleFile } from './upscale-job.ts';

/** The process that upscales one file (isolated-upscale.ts): one job comes by message, progress and the result go back. */

const send = (message: FromUpscaleChild): void => void process.send?.(message);

/** Leaves once the message is on its way: an engine's threads may still be there. */
const end = (message: FromUpscaleChild): void => void process.send?.(message, () => process.exit(0));

process.once('message', ({ input, output, options }: UpscaleJobMessage) => {
  // The parent is gone, and the result with it.
  process.once('disconnect', () => process.exit(1));
  void upscaleFile(input, output, {
    ...options,
    progress: (frames) => {
      send({ type: 'total', frames });
      return {
        update: (done) => send({ type: 'update', frames: done }),
        finish: (done) => send({ type: 'finish', frames: done }),
      };
    },
  }).then(
    (result) => end({ type: 'done', result }),
    (error: unknown) => end({ type: 'failed', error: AppError.from(error).toJSON() }),
  );
});
