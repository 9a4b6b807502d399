#!/usr/bin/env node
// `flashvsr-live` of an installed package: without a command the server (`npm start`), with one the tools beside it
// (`npm run cli`). TypeScript is loaded by tsx in this process, so that signals reach the server itself; the settings of a
// tsconfig.json in the working folder are somebody else's.
import { register } from 'tsx/esm/api';

register({ tsconfig: false });
const [first] = process.argv.slice(2);
const isServer = first === undefined || (first.startsWith('-') && first !== '--version');
await import(isServer ? './main.ts' : './cli/main.ts');
