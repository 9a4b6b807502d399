/** The file that a worker thread or a child process starts with; the module that it is to run is its first argument. */
export const BOOT = new URL('./boot.mjs', import.meta.url);
