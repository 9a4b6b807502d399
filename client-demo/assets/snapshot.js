/** @import {CompareMode} from './compare-view.js' */
import { h } from './dom.js';

const GAP = 4;

/**
 * Saves what is compared as PNG, at the size of the result: both pictures side by side, or one alone when one alone is shown.
 * @param {{original: HTMLVideoElement, result: HTMLVideoElement}} videos
 * @param {CompareMode} mode
 * @param {[original: string, result: string]} captions
 */
export async function saveSnapshot({ original, result }, mode, captions) {
  const { videoWidth: width, videoHeight: height } = result;
  if (width === 0) return;
  const parts = [
    { video: original, caption: captions[0] },
    { video: result, caption: captions[1] },
  ].filter(({ video }) => mode === 'wipe' || mode === 'split' || video === (mode === 'result' ? result : original));
  const canvas = h('canvas');
  canvas.width = parts.length * width + (parts.length - 1) * GAP;
  canvas.height = height;
  const context = canvas.getContext('2d');
  if (context === null) return;
  context.imageSmoothingQuality = 'high';
  parts.forEach(({ video, caption }, index) => {
    const left = index * (width + GAP);
    context.drawImage(video, left, 0, width, height);
    drawCaption(context, caption, left, height);
  });
  /** @type {Blob | null} */
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));
  if (blob === null) return;
  const url = URL.createObjectURL(blob);
  h('a', { href: url, download: 'comparison.png' }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** @param {CanvasRenderingContext2D} context @param {string} text @param {number} left @param {number} height */
function drawCaption(context, text, left, height) {
  if (text === '') return;
  const size = Math.max(12, Math.round(height / 36));
  context.font = `500 ${size}px system-ui, sans-serif`;
  const width = context.measureText(text).width;
  context.fillStyle = 'rgb(5 9 10 / 72%)';
  context.fillRect(left + size, height - size * 2.7, width + size * 1.2, size * 1.8);
  context.fillStyle = '#fff';
  context.fillText(text, left + size * 1.6, height - size * 1.45);
}
