// Entry of a pipeline worker thread. A worker of Node 20 does not inherit tsx's TypeScript loader, so it registers its own.
import { register } from 'tsx/esm/api';

register();
await import('./worker.ts');
