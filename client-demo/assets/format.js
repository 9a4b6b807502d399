/** Numbers as people read them. Rates are bit/s, times ms. */

/** @param {number} bps */
export function formatBitrate(bps) {
  if (!(bps > 0)) return '0 kbit/s';
  if (bps < 1_000_000) return `${Math.round(bps / 1000)} kbit/s`;
  return `${(bps / 1_000_000).toFixed(bps < 10_000_000 ? 2 : 1)} Mbit/s`;
}

/** @param {number} bytes */
export function formatBytes(bytes) {
  if (bytes < 1_000_000) return `${Math.ceil(bytes / 1000)} kB`;
  return bytes < 1_000_000_000 ? `${(bytes / 1_000_000).toFixed(1)} MB` : `${(bytes / 1_000_000_000).toFixed(2)} GB`;
}

/** @param {number} width @param {number} height */
export function formatSize(width, height) {
  return width > 0 && height > 0 ? `${width}×${height}` : '–';
}

/** The model and how much larger it makes pictures; some labels say that themselves ("nano x4"). @param {string} label @param {number} scale */
export function formatModel(label, scale) {
  return label.endsWith(` x${scale}`) ? label.replace(/ x(\d+)$/, ' ×$1') : `${label} ×${scale}`;
}

/** @param {number} fps */
export function formatFps(fps) {
  return fps > 0 ? `${fps < 10 ? fps.toFixed(1) : Math.round(fps)} fps` : '– fps';
}

/** @param {number | null | undefined} ms */
export function formatMs(ms) {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return '–';
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

/** @param {number} ratio 0..1 */
export function formatPercent(ratio) {
  return `${Math.round(ratio * 100)} %`;
}

/** @param {number} ms */
export function formatDuration(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const [hours = 0, minutes = 0, rest = 0] = parts;
  const tail = `${String(minutes).padStart(2, '0')}:${String(rest).padStart(2, '0')}`;
  return hours > 0 ? `${hours}:${tail}` : tail;
}

/** @param {string} device as the server names it */
export function formatDevice(device) {
  return device === 'cpu' ? 'CPU' : device;
}

/**
 * Whether what is shown now is super-resolution. The last rung of an overloaded server is a plain resize whatever the model
 * is (server/upscalers: rung labels name it so), and a resize is never called anything else.
 * @param {{superResolution: boolean, rungLabel: string}} model
 */
export function isSuperResolution({ superResolution, rungLabel }) {
  return superResolution && !/\bresize\b/i.test(rungLabel);
}

const KINDS = /** @type {const} */ ({ resize: 'Plain resize', onnx: 'ONNX', flashvsr: 'FlashVSR' });

/** @param {'resize' | 'onnx' | 'flashvsr'} kind what runs a model */
export function formatKind(kind) {
  return KINDS[kind];
}

/**
 * Why the result is not the best that the model can make; undefined when it is.
 * @param {{label: string, superResolution: boolean, rung: number, rungLabel: string, rungCause: 'load' | 'size' | 'content'}} model
 * @param {{width: number, height: number}} [source] as the server decodes it
 * @param {{width: number, height: number}} [output]
 */
export function rungNote(model, source, output) {
  const { label, rung, rungLabel, rungCause } = model;
  if (rung === 0) return undefined;
  if (rungCause === 'content') return 'Text and drawings: plain scaling keeps thin strokes that the model would fade.';
  // A line that carries 720 lines gets them sent (choose-send.js): a processor that cannot enlarge them is not why nothing is to be seen.
  if (source !== undefined && source.height >= 720 && source.height === output?.height && !isSuperResolution(model)) {
    return `The picture arrives at ${formatSize(source.width, source.height)}: viewers get that size, without super-resolution.`;
  }
  const instead = isSuperResolution(model)
    ? `a lighter model for now (${rungLabel})`
    : 'plain scaling for now, no super-resolution';
  if (rungCause === 'load') return `The server is busy: ${instead}.`;
  return `This picture is too large for ${label} on this server: ${instead.replace(' for now', '')}.`;
}

/** DropReason of server/media/types.ts in a visitor's words. */
const DROP_REASONS = /** @type {Record<string, string>} */ ({
  incomplete: 'packets lost on the way here',
  oversize: 'pictures of an impossible size',
  'awaiting-keyframe': 'waiting for a whole picture after a loss',
  'decode-error': 'damaged pictures',
  'out-of-order': 'B-frames that came after their place',
  stale: 'skipped to keep the delay low',
  'queue-full': 'skipped for a newer picture',
  'pace-late': 'ready too late to be shown',
  'ingest-slow': 'the pulled stream came faster than it could be read',
  'egress-slow': 'a recording or relay could not keep up',
  phase: 'first pictures, skipped to fit between other broadcasts',
});

/**
 * Frames of a broadcast without viewers are no loss: they are not counted as skipped.
 * @param {Readonly<Record<string, number>>} drops
 * @returns {[reason: string, count: number][]} most first
 */
export function realDrops(drops) {
  const entries = Object.entries(drops).filter(([reason, count]) => reason !== 'no-viewer' && count > 0);
  return entries.sort(([, a], [, b]) => b - a);
}

/** @param {string} reason */
export function dropReason(reason) {
  return DROP_REASONS[reason] ?? reason;
}
