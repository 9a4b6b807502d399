import cliProgress from 'cli-progress';

/** Tells how far a long job is: a bar on a terminal, a line every few seconds elsewhere (logs, pipes). */
export interface Progress {
  update(done: number): void;
  finish(done: number): void;
}

const LINE_INTERVAL_MS = 5_000;

/** @param total undefined when it cannot be known */
export function createProgress(total: number | undefined, stream: NodeJS.WriteStream = process.stderr): Progress {
  return stream.isTTY ? barProgress(total, stream) : lineProgress(total, stream);
}

function barProgress(total: number | undefined, stream: NodeJS.WriteStream): Progress {
  const format =
    total === undefined
      ? '  {value} frames  {rate} fps  {duration_formatted}'
      : '  {bar} {percentage} %  {value}/{total} frames  {rate} fps  {eta_formatted} left';
  const bar = new cliProgress.SingleBar({ format, stream, hideCursor: true }, cliProgress.Presets.shades_classic);
  const rate = rateMeter();
  bar.start(total ?? 0, 0, { rate: '0' });
  return {
    update: (done) => bar.update(done, { rate: rate(done) }),
    finish: (done) => {
      // The container's count may have been an estimate.
      bar.setTotal(done);
      bar.update(done, { rate: rate(done) });
      bar.stop();
    },
  };
}

function lineProgress(total: number | undefined, stream: NodeJS.WriteStream): Progress {
  const rate = rateMeter();
  let last = Date.now();
  const line = (done: number, of: number | undefined): void => {
    const share = of === undefined || of === 0 ? '' : ` of ${of} (${Math.min(100, Math.floor((100 * done) / of))} %)`;
    stream.write(`${done}${share} frames, ${rate(done)} fps\n`);
  };
  return {
    update: (done) => {
      if (Date.now() - last < LINE_INTERVAL_MS) return;
      last = Date.now();
      line(done, total);
    },
    finish: (done) => line(done, done),
  };
}

function rateMeter(): (done: number) => string {
  const start = Date.now();
  return (done) => (done / Math.max(0.001, (Date.now() - start) / 1000)).toFixed(1);
}
