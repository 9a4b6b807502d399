/** @import {WireError} from '../../server/signaling/protocol.ts' */

/** An error a person can read: what happened, and what to do about it. */
export class LiveError extends Error {
  /** @param {WireError & {cause?: unknown}} error */
  constructor({ code, message, remedy, retryable, cause }) {
    super(message, { cause });
    this.name = 'LiveError';
    this.code = code;
    this.remedy = remedy;
    this.retryable = retryable;
  }
}

/** Errors of the server that visitors meet; its own words are for the operator. @type {Readonly<Record<string, [string, string]>>} */
const FOR_VISITORS = {
  'server.full': ['The server is full right now.', 'Try again when a broadcast has ended.'],
  'engine.full': ['The server is full right now.', 'Try again when a broadcast has ended.'],
  'server.draining': ['The server is restarting.', 'No action needed; reconnecting automatically.'],
};

/** What a page says that was opened without a key, where the server asks for one. The server's words are for programs. @param {LiveError} error */
export function withoutKey({ code, cause }) {
  return new LiveError({
    code,
    message: 'This server opens with a key.',
    remedy: 'Open the whole link that you were given: the key stands at its end, behind “#key=”.',
    retryable: false,
    cause,
  });
}

/** @param {WireError} error */
export function fromServer({ code, message, remedy, retryable }) {
  const words = FOR_VISITORS[code];
  return new LiveError({ code, message: words?.[0] ?? message, remedy: words?.[1] ?? remedy, retryable });
}

/**
 * @param {unknown} thrown
 * @returns {LiveError}
 */
export function toLiveError(thrown) {
  if (thrown instanceof LiveError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new LiveError({
    code: 'page',
    message: `The page met a problem: ${message}`,
    remedy: 'Reload the page and try again.',
    retryable: true,
    cause: thrown,
  });
}

/** @typedef {'camera' | 'screen' | 'file' | 'sample'} CaptureKind */

/** What to say for the exceptions of getUserMedia and getDisplayMedia (W3C mediacapture-main section 10.2.1). */
const CAPTURE_ERRORS = /** @type {const} */ ({
  camera: {
    NotAllowedError: [
      'Camera access was refused.',
      'Allow the camera for this site: the icon beside the address, or your system settings. Then start again.',
    ],
    NotFoundError: ['No camera was found.', 'Connect a camera, or choose the screen, a file or the sample clip.'],
    NotReadableError: ['The camera is busy.', 'Close the other program that uses it, then start again.'],
    OverconstrainedError: ['The camera cannot deliver this size.', 'Choose another size or another camera.'],
  },
  screen: {
    NotAllowedError: ['Screen sharing was cancelled.', 'Start again and choose what to share.'],
    NotFoundError: ['There is no screen that can be shared.', 'Choose a camera, a file or the sample clip.'],
    NotReadableError: ['The system does not let the browser record the screen.', 'Allow it in the system settings.'],
    OverconstrainedError: ['The screen cannot be captured at this size.', 'Choose another size.'],
  },
});

/**
 * @param {unknown} thrown
 * @param {'camera' | 'screen'} kind
 * @returns {LiveError}
 */
export function captureError(thrown, kind) {
  if (thrown instanceof LiveError) return thrown;
  const name = thrown instanceof DOMException ? thrown.name : '';
  const alias = name === 'PermissionDeniedError' || name === 'SecurityError' ? 'NotAllowedError' : name;
  const known = alias in CAPTURE_ERRORS[kind] ? alias : undefined;
  if (known === undefined) return toLiveError(thrown);
  const [message, remedy] = CAPTURE_ERRORS[kind][/** @type {'NotAllowedError'} */ (known)];
  return new LiveError({ code: `capture.${kind}`, message, remedy, retryable: false, cause: thrown });
}

/** Browsers give cameras to secure pages only: HTTPS, or localhost. */
export function insecureContextError() {
  return new LiveError({
    code: 'capture.insecure',
    message: 'This page was opened over plain HTTP, so the browser gives it no camera, microphone or screen.',
    remedy: 'Open it over https://, or on the server itself as http://localhost. A file or the sample clip works here.',
    retryable: false,
  });
}

/** What a page shows between the server's announcement and its end. @returns {import('./notice.js').NoticeContent} */
export function drainNotice() {
  const [title, text] = FOR_VISITORS['server.draining'] ?? ['', ''];
  return { tone: 'info', title, text };
}
