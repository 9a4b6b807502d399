// Stands in for FFmpeg hitting a defect: takes the job, leaves half a result, and ends as a bad memory access does.
import { writeFileSync } from 'node:fs';
import path from 'node:path';

process.once('message', ({ output }) => {
  const { dir, name, ext } = path.parse(output);
  writeFileSync(path.join(dir, `${name}.part${ext}`), 'half');
  process.kill(process.pid, 'SIGSEGV');
});
