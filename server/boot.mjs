// Entry of every worker thread and child process of the server; its first argument is the URL of the module to run. On Node 20
// neither inherits tsx's TypeScript loader, so it registers its own; a tsconfig.json in the working folder is somebody else's.
import { register } from 'tsx/esm/api';

register({ tsconfig: false });
await import(process.argv[2]);
