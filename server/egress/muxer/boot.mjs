// Entry of a process that muxes. A child of Node 20 does not inherit tsx's TypeScript loader, so it registers its own.
import { register } from 'tsx/esm/api';

register();
await import('./child.ts');
