// Stands in for FFmpeg hitting a defect: takes the job, leaves half a result, and ends as a bad memory access does.
import { writeFileSync } from 'node:fs';

process.once('message', ({ target }) => {
  writeFileSync(target.part, 'half');
  process.kill(process.pid, 'SIGSEGV');
});
