import { ERRORS, type ErrorScope } from '../../server/errors.ts';

const SCOPES: Readonly<Record<ErrorScope, string>> = {
  request: 'one request is refused',
  frame: 'one frame is lost, the stream goes on',
  stream: 'one stream (publisher, viewer or pipeline) ends',
  process: 'the process cannot start, or ends',
};

/** docs/errors.md: the catalogue as a table. */
export function errorsPage(): string {
  const rows = Object.entries(ERRORS).map(([code, { scope, status, remedy, retryable }]) => {
    return `| \`${code}\` | ${scope} | ${status} | ${retryable === true ? 'yes' : ''} | ${remedy.replaceAll('|', '\\|')} |`;
  });
  return [
    '# Errors',
    '',
    'Made from `server/errors.ts` by `npm run docs`; do not edit.',
    '',
    'Every error that a client or the log shows has a code, a message that names what was wrong, and a remedy. Over HTTP and the',
    'WebSocket it is `{ "code", "message", "remedy", "retryable" }`. Messages about the server itself (its model, device or files) are',
    'in its log only; clients read a general sentence in their place.',
    '',
    'The scope says what the error ends:',
    '',
    ...Object.entries(SCOPES).map(([scope, meaning]) => `- ${scope}: ${meaning}`),
    '',
    'Status is the HTTP status when the error answers a request. Retry: the same call may succeed later without any change.',
    '',
    '| code | scope | status | retry | what to do |',
    '| --- | --- | --- | --- | --- |',
    ...rows,
    '',
  ].join('\n');
}
