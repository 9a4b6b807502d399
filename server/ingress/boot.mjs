// Entry of the process that pulls one stream. A child of Node 20 does not inherit tsx's TypeScript loader, so it registers its own.
import { register } from 'tsx/esm/api';

register();
await import('./child/pull-child.ts');
