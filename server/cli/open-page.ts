import { spawn } from 'node:child_process';

/** The program that opens an address in the person's browser. */
export function browserCommand(url: string, platform = process.platform): readonly [string, ...string[]] {
  if (platform === 'darwin') return ['open', url];
  // `start` takes a first quoted argument for a title, and `&` in an address for its own.
  if (platform === 'win32') return ['rundll32', 'url.dll,FileProtocolHandler', url];
  return ['xdg-open', url];
}

/** @returns whether a program has taken the address; a machine without a desktop has none */
export function openPage(url: string): Promise<boolean> {
  const [command, ...args] = browserCommand(url);
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: 'ignore', detached: true });
    child.once('error', () => resolve(false));
    // What goes on for longer than this is the browser itself.
    const timer = setTimeout(() => resolve(true), 3000).unref();
    child.once('exit', (code) => {
      clearTimeout(timer);
      resolve(code === 0);
    });
    child.unref();
  });
}
