// The real program under a limit on the size of files: writes beyond it fail (EFBIG), as on a full disk.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const boot = fileURLToPath(new URL('../../../boot.mjs', import.meta.url));
const program = new URL('../../upscale-child.ts', import.meta.url).href;
// SIGXFSZ must be ignored for the write to fail instead of the process; ulimit -f counts 512 or 1024 bytes.
const limited = spawn('bash', ['-c', 'trap "" XFSZ; ulimit -f 64; exec "$0" "$@"', process.execPath, boot, program], {
  stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
});
process.on('message', (message) => limited.send(message));
limited.on('message', (message) => process.send?.(message));
limited.on('exit', (code) => process.exit(code ?? 1));
