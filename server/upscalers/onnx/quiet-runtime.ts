import { isMainThread } from 'node:worker_threads';

/**
 * onnxruntime's packages (since 1.29 on Linux and macOS, too) report sessions, models and errors to their maker and keep an identifier
 * of the machine in the user's cache folder. The variable has no effect on Windows, where events go to the system's tracing. The library reads this variable when it starts, from the process: what a worker thread sets
 * stays in the thread, so every module that starts threads or processes with a model imports this one, before the library.
 */
if (isMainThread) process.env['ORT_DISABLE_TELEMETRY'] = '1';
