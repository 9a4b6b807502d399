/**
 * Every error a person can meet, in one catalogue: code -> who is affected and what to do about it.
 * Errors cross threads and sockets as `AppErrorJson`, never as bare strings.
 */

/** What an error ends: one request, one frame, one stream (publisher, viewer or pipeline), or the whole process. */
export type ErrorScope = 'request' | 'frame' | 'stream' | 'process';

interface CatalogueEntry {
  readonly scope: ErrorScope;
  /** HTTP status when the error answers a request. */
  readonly status: number;
  /** What the reader can do; shown to them as it stands. */
  readonly remedy: string;
  /** True when the same call may succeed later without any change. */
  readonly retryable?: boolean;
}

const entry = (scope: ErrorScope, status: number, remedy: string, retryable = false): CatalogueEntry => ({
  scope,
  status,
  remedy,
  retryable,
});

export const ERRORS = {
  'config.invalid': entry(
    'process',
    500,
    'Correct the named key in the file, environment variable or flag and start again.',
  ),
  'config.unreadable': entry('process', 500, 'Check that the file exists, is readable and is valid YAML.'),
  'server.listen': entry('process', 500, 'Choose another port with --port, or stop the program that holds it.'),
  'server.openFiles': entry(
    'process',
    500,
    'Raise the limit of open files (`ulimit -n 4096`, LimitNOFILE= of systemd) and start again.',
  ),
  'server.full': entry(
    'request',
    503,
    'Wait until a broadcast or viewer ends, or raise the limit named in the message.',
    true,
  ),
  'server.draining': entry('request', 503, 'The server is stopping; connect to another one or try again later.', true),
  'request.malformed': entry('request', 400, 'Correct the field named in the message.'),
  'request.version': entry('request', 400, 'Reload the page: client and server speak different protocol versions.'),
  'request.unauthorized': entry('request', 401, 'Send the bearer token that the session was made with.'),
  'access.expired': entry('stream', 401, 'Get a new token or link, then connect again.'),
  'access.kicked': entry('stream', 403, 'Ask whoever runs the server.'),
  'access.removed': entry('stream', 401, 'Get a new token or link, then connect again.'),
  'access.reload': entry(
    'request',
    409,
    'Correct what the message names, then read the tokens again; until then they stay as they are.',
  ),
  'access.unavailable': entry(
    'request',
    503,
    'Try again; the operator finds the reason in the log (access.webhookUrl, access.jwksUrl, targets.allow).',
    true,
  ),
  'request.notFound': entry('request', 404, 'Check the address; the page is at /.'),
  'request.forbidden': entry('request', 403, "Use an address that the server's operator has allowed."),
  'request.method': entry('request', 405, 'Use one of the methods in the Allow header.'),
  'request.notAcceptable': entry('request', 406, 'Accept the type named in the message.'),
  'request.precondition': entry(
    'request',
    412,
    'Use the entity tag of the latest answer, or restart ICE with If-Match: "*".',
  ),
  'request.mediaType': entry('request', 415, 'Send the body in the type named in the message.'),
  'request.range': entry('request', 416, 'Ask for bytes that the file has.'),
  'request.tooLarge': entry('request', 413, 'Send a smaller message.'),
  'request.preconditionRequired': entry('request', 428, 'Send If-Match with the entity tag of the session.'),
  'request.tooMany': entry('request', 429, 'Slow down, or close other connections from the same address.', true),
  'request.origin': entry('request', 403, 'Open the page from this server, or add the origin to http.allowedOrigins.'),
  'request.unknownSession': entry('request', 404, 'The session has ended; publish or watch again.'),
  'request.state': entry('request', 409, 'Send the messages in the order the protocol asks.'),
  'sdp.invalid': entry('request', 400, 'Send a complete SDP offer as created by RTCPeerConnection.'),
  'sdp.unsupported': entry(
    'request',
    422,
    'Offer at most one audio track and a video track in H264 or VP8 (AV1 and VP9 in, H264 or VP8 out).',
  ),
  'broadcast.nameTaken': entry(
    'request',
    409,
    'Choose another name, or publish again with the resume token of the first publisher.',
  ),
  'broadcast.notLive': entry('request', 409, 'Try again when the broadcast is live; Retry-After says when.', true),
  'publish.noPicture': entry(
    'stream',
    408,
    'Check that the camera or encoder sends video, then publish again; nothing is kept.',
    true,
  ),
  'peer.connection': entry(
    'stream',
    500,
    'Check that UDP between the two sides is open (ice.portRange, TURN), then connect again.',
    true,
  ),
  'peer.handshake': entry(
    'stream',
    502,
    'Use a peer that speaks DTLS 1.2 with ECDHE, AES-GCM or ChaCha20-Poly1305, and a certificate; then connect again.',
    true,
  ),
  'target.refused': entry(
    'request',
    403,
    'Name another target, or add its address to targets.allow if the server may connect there.',
  ),
  'target.unreachable': entry(
    'stream',
    502,
    'Check the name, address and port of the target, and that it runs; the server tries again.',
    true,
  ),
  'target.answer': entry(
    'stream',
    502,
    'Check that the address is a stream of the kind its scheme says, or a WHIP or WHEP endpoint; the server tries again.',
    true,
  ),
  'target.rejected': entry(
    'stream',
    502,
    'Correct the address, the bearer token or the codecs; the server tries again.',
  ),
  'target.busy': entry('stream', 502, 'The server tries again by itself, when the target asks for it.', true),
  'media.decode': entry(
    'frame',
    500,
    'The frame was skipped and a keyframe was requested; no action is needed if it recovers.',
  ),
  'media.unsupported': entry(
    'stream',
    422,
    'Publish AV1, H264, VP8 or VP9 at most as large as limits.maxSourcePixels.',
  ),
  'model.notFound': entry(
    'process',
    404,
    'List the models with `npm run cli -- models list` and give one of them to --model.',
  ),
  'model.invalid': entry('process', 422, 'Use a model file that fits the description in docs/models.md.'),
  'model.device': entry('process', 422, 'Install the GPU driver and its Vulkan loader, or use --model.device cpu.'),
  'model.run': entry('stream', 500, 'See the message; if it repeats, start with another --model and report the log.'),
  'engine.unavailable': entry(
    'process',
    501,
    'Build the native addon (`npm run build:addon`), or choose another --model.',
  ),
  'engine.device': entry('process', 501, 'Choose another --device, or install what the message names.'),
  'engine.memory': entry('request', 503, 'Use a smaller output size, fewer streams or a GPU with more memory.', true),
  'engine.full': entry(
    'request',
    503,
    'Wait until another stream ends, or raise limits.maxBroadcasts if the machine can take it.',
    true,
  ),
  'engine.failed': entry(
    'process',
    500,
    'The device reported an error that cannot be recovered; the supervisor should restart the process.',
  ),
  'engine.moved': entry(
    'stream',
    500,
    'The stream goes on on another device; see the log for what happened to the first.',
  ),
  'weights.invalid': entry('process', 422, 'Download the files again; compare their sha256 with the ones published.'),
  'download.failed': entry(
    'request',
    502,
    'Check the network, the token and the mirror address, then run the command again: it resumes.',
    true,
  ),
  'file.unwritable': entry('request', 500, 'Check that the folder exists, is writable and has room.'),
  'file.unreadable': entry('request', 400, 'Check the path and that the file is a video ffmpeg can read.'),
  'job.stopped': entry('request', 499, 'Run the command again.', true),
  'job.unknown': entry(
    'request',
    404,
    'Use the id that POST /api/jobs answered; jobs are deleted after jobs.keepSeconds.',
  ),
  'job.full': entry('request', 503, 'Delete jobs that have ended, or try again later.', true),
  'job.disk': entry('request', 507, 'Free space on the disk of jobs.folder, or delete jobs that have ended.', true),
  'job.tooLong': entry('request', 422, 'Send a shorter file, or raise jobs.maxSeconds.'),
  'job.interrupted': entry('request', 500, 'Send the file again; if it ends the server again, report it with the log.'),
  'output.exists': entry('request', 409, 'Stop the output first, or choose another name.'),
  'output.unknown': entry('request', 404, 'Use a name of the list of outputs.'),
  'output.unsupported': entry('stream', 422, 'Change the setting of the output that the message names.'),
  'output.disk': entry('stream', 507, 'Free space, or mount the folder again; it is tried again by itself.', true),
  'output.target': entry('stream', 502, 'Check the address, the key and the other side; it is tried again.', true),
  'output.crashed': entry('stream', 500, 'The process that writes the output ended; it is started again.', true),
  'pipeline.crashed': entry('stream', 500, 'The stream was restarted; see the log for the cause.', true),
  internal: entry('process', 500, 'This is a defect: please report it with the log.'),
} as const satisfies Record<string, CatalogueEntry>;

export type ErrorCode = keyof typeof ERRORS;

export interface AppErrorJson {
  readonly code: ErrorCode;
  readonly message: string;
  readonly scope: ErrorScope;
  readonly remedy: string;
  readonly retryable: boolean;
  readonly context: Readonly<Record<string, unknown>>;
}

export interface AppErrorOptions {
  /** Facts that name what was wrong: key, value, path, size. For the log; clients get the message alone (wire-error.ts). */
  readonly context?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
  /** Replaces the catalogue's scope, for example when a native error says which it was. */
  readonly scope?: ErrorScope;
  /** Replaces the catalogue's remedy when the thrower knows better. */
  readonly remedy?: string;
}

export class AppError extends Error {
  override readonly name = 'AppError';
  readonly code: ErrorCode;
  readonly scope: ErrorScope;
  readonly remedy: string;
  readonly retryable: boolean;
  readonly status: number;
  readonly context: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    const known: CatalogueEntry = ERRORS[code];
    this.code = code;
    this.scope = options.scope ?? known.scope;
    this.remedy = options.remedy ?? known.remedy;
    this.retryable = known.retryable ?? false;
    this.status = known.status;
    this.context = options.context ?? {};
  }

  toJSON(): AppErrorJson {
    const { code, message, scope, remedy, retryable, context } = this;
    return { code, message, scope, remedy, retryable, context };
  }

  static fromJSON(json: AppErrorJson): AppError {
    const { code, message, scope, remedy, context } = json;
    return new AppError(code in ERRORS ? code : 'internal', message, { scope, remedy, context });
  }

  /** Wraps anything thrown; an AppError passes unchanged. */
  static from(thrown: unknown, code: ErrorCode = 'internal'): AppError {
    if (thrown instanceof AppError) return thrown;
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    return new AppError(code, message, { cause: thrown });
  }
}
