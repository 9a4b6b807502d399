import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { z } from 'zod';
import { CLOSE_CODES, PROTOCOL_VERSION, REPLIES, clientMessage } from '../../server/signaling/protocol.ts';

interface JsonSchema {
  readonly type?: string;
  readonly description?: string;
  readonly const?: unknown;
  readonly anyOf?: readonly JsonSchema[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
}

/** A field's type and bounds, in a few words. */
function fieldType(schema: JsonSchema): string {
  if (schema.anyOf !== undefined) return schema.anyOf.map(fieldType).join(' or ');
  if (schema.properties !== undefined) return `{ ${fields(schema).join(', ')} }`;
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  const { type = 'any', description, minimum, maximum, minLength, maxLength, pattern } = schema;
  const most = maximum !== undefined && maximum < Number.MAX_SAFE_INTEGER ? ` to ${maximum}` : '';
  const least = minimum !== undefined && minimum > Number.MIN_SAFE_INTEGER ? ` from ${minimum}` : '';
  const length = maxLength === undefined ? '' : ` of ${minLength ?? 0} to ${maxLength} characters`;
  const form = pattern === undefined ? '' : ` matching \`${pattern.replaceAll('|', '\\|')}\``;
  return `${type}${least}${most}${length}${form}${description === undefined ? '' : ` (${description})`}`;
}

function fields({ properties = {}, required = [] }: JsonSchema): string[] {
  return Object.entries(properties)
    .filter(([name]) => name !== 'type')
    .map(([name, schema]) => `${name}${required.includes(name) ? '' : '?'}: ${fieldType(schema)}`);
}

function requestRow(option: (typeof clientMessage.options)[number]): string {
  const type = option.shape.type.value;
  const list = fields(z.toJSONSchema(option, { io: 'input' }) as JsonSchema).map((field) =>
    field.replaceAll('|', '\\|'),
  );
  return `| \`${type}\` | ${list.join('<br>')} | \`${REPLIES[type]}\` | ${option.description ?? ''} |`;
}

/** The source text of exported types, comments included. */
function declarations(file: string, names: readonly string[]): string {
  const path = fileURLToPath(new URL(`../../server/${file}`, import.meta.url));
  const source = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest, true);
  const found = source.statements.filter(
    (statement): statement is ts.InterfaceDeclaration | ts.TypeAliasDeclaration =>
      (ts.isInterfaceDeclaration(statement) || ts.isTypeAliasDeclaration(statement)) &&
      names.includes(statement.name.text),
  );
  const missing = names.filter((name) => !found.some((statement) => statement.name.text === name));
  if (missing.length > 0) throw new Error(`${file} declares no ${missing.join(', ')}`);
  return found.map((statement) => statement.getFullText(source).trim()).join('\n\n');
}

const code = (text: string): string[] => ['```ts', text, '```', ''];

/** docs/protocol.md: requests from the zod schemas, answers and pushes from the types that the server is checked against. */
export function protocolPage(): string {
  return [
    '# The WebSocket protocol',
    '',
    'Made from `server/signaling/protocol.ts` by `npm run docs`; do not edit.',
    '',
    `Version ${PROTOCOL_VERSION}, at \`/ws\`. Messages are JSON text of at most \`limits.maxMessageBytes\` and 32 levels. A client sends requests with an \`id\` of its`,
    'own choice. Each request gets exactly one message with `re` = that id: its reply, or `error`. Messages without `re` are pushes.',
    '',
    'A bad message gets an error and the socket stays usable. The error has `re` where an `id` can be read in the message, even if the',
    'rest is cut off, too deep, too large or too much. It has none for a binary frame, for text that is no object, and for an `id`',
    'that is no integer from 0: no request waits for such an answer.',
    '',
    'A socket says `hello` first. It publishes at most one broadcast and watches up to 16; closing it ends its sessions. The',
    "publisher's name stays reserved for `broadcast.resumeSeconds`; the resume token claims it again. Browsers must come from an",
    'allowed origin (`http.allowedOrigins`).',
    '',
    '## Requests',
    '',
    '| type | fields | reply | meaning |',
    '| --- | --- | --- | --- |',
    ...clientMessage.options.map(requestRow),
    '',
    '## Replies and pushes',
    '',
    ...code(declarations('signaling/protocol.ts', ['ServerMessage'])),
    ...code(declarations('wire-error.ts', ['WireError'])),
    'The codes of errors: [errors.md](errors.md).',
    '',
    ...code(declarations('broadcast/statistics.ts', STATISTICS)),
    '## Close codes',
    '',
    '| code | when |',
    '| --- | --- |',
    ...Object.values(CLOSE_CODES).map(({ code: number, when }) => `| ${number} | ${when} |`),
    '',
    'Frames against RFC 6455 are closed with its own codes: 1002, 1007, 1009.',
    '',
  ].join('\n');
}

const STATISTICS = [
  'SessionState',
  'ModelSummary',
  'BroadcastSummary',
  'BroadcastList',
  'BroadcastStats',
  'ViewerSessionStats',
] as const;
