/** Ends in the middle of something; the exit code and the time it takes are what the test looks at. */
import { FlashVsrEngine, importModel, leaveProcess } from '../../binding.ts';
import { GOLDEN_WEIGHTS, ramp } from '../../../../../testing/micro-flashvsr.ts';

const moment = process.argv[2] ?? 'idle';
const micro = { kind: 'synthetic', path: 'micro' } as const;
const options = { device: 'reference', threads: 2 } as const;

function leave(): never {
  process.stdout.write(`exiting while ${moment}\n`);
  process.exit(0);
}

if (moment === 'throwing') {
  process.on('uncaughtException', (error: Error) => {
    process.stdout.write(`uncaught: ${error.message}\n`);
    process.exit(0);
  });
  const engine = await FlashVsrEngine.open(micro, options);
  const stream = await engine.openStream(
    { sourceWidth: 32, sourceHeight: 32, coldStartFrames: 1, gatherDeadlineMs: 0 },
    {
      onFrame: () => {
        throw new Error('from a listener');
      },
      onError: () => undefined,
      onClosed: () => undefined,
    },
  );
  stream.push(ramp(0));
  void stream.flush();
} else if (moment === 'failed') {
  const engine = await FlashVsrEngine.open(micro, options);
  process.on('exit', () => process.stdout.write('waited\n'));
  process.stdout.write(`${engine.info.device} failed\n`);
  leaveProcess(70);
} else if (moment === 'opening') {
  void FlashVsrEngine.open(micro, options);
  setTimeout(leave, 20);
} else if (moment === 'importing') {
  const at = (name: string): string => `${GOLDEN_WEIGHTS}/${name}`;
  void importModel(
    {
      transformer: at('diffusion_pytorch_model_streaming_dmd.safetensors'),
      projector: at('LQ_proj_in.ckpt'),
      decoder: at('TCDecoder.ckpt'),
      prompt: at('posi_prompt.pth'),
      outputFolder: '/proc/never',
      name: 'never',
      variant: 'v1',
      origin: 'test',
      licence: '',
      createdAt: '',
      replace: false,
    },
    leave,
  );
} else {
  const engine = await FlashVsrEngine.open(micro, options);
  if (moment === 'open') {
    process.stdout.write('exiting while open\n');
  } else {
    const stream = await engine.openStream(
      { sourceWidth: 32, sourceHeight: 32, coldStartFrames: 1, gatherDeadlineMs: 0 },
      { onFrame: () => undefined, onError: () => undefined, onClosed: () => undefined },
    );
    if (moment === 'closed') {
      stream.push(ramp(0));
      await stream.flush();
      await stream.close();
      await engine.close();
      process.stdout.write('exiting while closed\n');
    } else {
      if (moment !== 'idle') for (let number = 0; number < 20; number += 1) stream.push(ramp(number));
      if (moment === 'flushing') void stream.flush();
      setTimeout(leave, 30);
    }
  }
}
