/** @import {BroadcastStats, ViewerSessionStats} from '../../server/signaling/protocol.ts' */
/** @import {Downlink, Uplink} from './rtp-rates.js' */
import { h, setText } from './dom.js';
import {
  dropReason,
  formatBitrate,
  formatDevice,
  formatFps,
  formatKind,
  formatModel,
  formatMs,
  formatPercent,
  formatSize,
  isSuperResolution,
  realDrops,
} from './format.js';

/** @typedef {{value: HTMLElement, note: HTMLElement, tile: HTMLElement}} Tile */
/**
 * @typedef {object} Figures
 * @property {BroadcastStats} [broadcast]
 * @property {ViewerSessionStats} [viewer]
 * @property {Uplink} [uplink] only on the publisher's page
 * @property {Downlink} [downlink]
 * @property {number} [lagMs] result shown later than original
 */

/**
 * A step's name on the page, from its key in the statistics: `fanOutMs` is "Fan out". The server's list of steps is the only one
 * (server/media/steps.ts), in the order of the frame's way.
 * @param {string} key
 */
function stepLabel(key) {
  const words = key.replace(/Ms$/, '').replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Statistics of one broadcast: six figures to look at, and the rest to open. */
export class StatsPanel {
  #root;
  /** @type {Map<string, Tile>} */
  #tiles = new Map();
  /** @type {Map<string, HTMLElement>} */
  #rows = new Map();
  /** @type {Map<string, {bar: HTMLElement, value: HTMLElement}>} */
  #steps = new Map();
  #way;
  #drops;
  /** @type {Figures} */
  #figures = {};

  /** @param {HTMLElement} root @param {'publisher' | 'viewer'} role */
  constructor(root, role) {
    this.#root = root;
    const tiles = h(
      'dl',
      { class: 'tiles' },
      this.#tile('uplink', role === 'publisher' ? 'You send' : 'Sent to the server'),
      this.#tile('result', role === 'publisher' ? 'Viewers get' : 'You receive'),
      this.#tile('viewers', 'Viewers'),
      this.#tile('latency', 'Added latency'),
      this.#tile('load', 'Upscaler load'),
      this.#tile('drops', 'Skipped frames'),
    );
    this.#way = h('div', { class: 'steps' });
    this.#drops = h('ul', { class: 'drop-list' });
    const details = h(
      'details',
      { class: 'details' },
      h('summary', {}, 'All figures'),
      h(
        'div',
        { class: 'details-grid' },
        h('section', {}, h('h2', {}, 'A frame’s way through the server'), this.#way),
        h('section', {}, h('h2', {}, 'Skipped frames by reason'), this.#drops),
        h(
          'section',
          {},
          h('h2', {}, 'Model'),
          h(
            'dl',
            { class: 'rows' },
            this.#row('model', 'Name'),
            this.#row('kind', 'What it does'),
            this.#row('device', 'Device'),
            this.#row('scale', 'Scale'),
            this.#row('rung', 'Quality level'),
          ),
        ),
        h(
          'section',
          {},
          h('h2', {}, 'Connection'),
          h(
            'dl',
            { class: 'rows' },
            this.#row('received', 'This page receives'),
            this.#row('roundTrip', 'Round trip'),
            this.#row('buffer', 'Browser’s buffer'),
            this.#row('lost', 'Packets lost'),
            this.#row('estimate', 'Bandwidth estimate'),
            this.#row('lag', 'Result behind original'),
            this.#row('audio', 'Sound'),
            this.#row('reorder', 'B-frames'),
          ),
        ),
      ),
    );
    root.append(tiles, details);
    this.clear();
  }

  clear() {
    this.#figures = {};
    this.#root.hidden = true;
  }

  /** @param {Figures} figures what is new; the rest stays */
  update(figures) {
    this.#figures = { ...this.#figures, ...figures };
    this.#render();
  }

  /** @param {string} key @param {string} label @param {string} [tone] */
  #tile(key, label, tone) {
    const value = h('dd', { class: 'tile-value' }, '–');
    const note = h('dd', { class: 'tile-note' });
    const tile = h('div', { class: 'tile', 'data-key': key, 'data-tone': tone }, h('dt', {}, label), value, note);
    this.#tiles.set(key, { value, note, tile });
    return tile;
  }

  /** @param {string} key @param {string} label */
  #row(key, label) {
    const value = h('dd', {}, '–');
    this.#rows.set(key, value);
    return h('div', {}, h('dt', {}, label), value);
  }

  /** @param {string} key @param {string} value @param {string} note @param {string} [alert] */
  #setTile(key, value, note, alert) {
    const tile = this.#tiles.get(key);
    if (tile === undefined) return;
    setText(tile.value, value);
    setText(tile.note, note);
    if (alert === undefined) delete tile.tile.dataset['alert'];
    else tile.tile.dataset['alert'] = alert;
  }

  /** @param {string} key @param {string} value */
  #setRow(key, value) {
    const row = this.#rows.get(key);
    if (row !== undefined) setText(row, value);
  }

  #render() {
    const { broadcast } = this.#figures;
    // Before the first picture every figure would be a zero or a dash.
    this.#root.hidden = broadcast === undefined || broadcast.output.width === 0;
    if (broadcast === undefined || this.#root.hidden) return;
    this.#renderRates();
    const { addedLatencyMs, load, drops, model } = broadcast;
    const { p50, p95 } = addedLatencyMs;
    if (p50 > 0) this.#setTile('latency', formatMs(p50), `95 % under ${formatMs(p95)}`);
    else this.#setTile('latency', '–', 'measuring');
    const busy = load > 0.9 ? 'warning' : undefined;
    const working = model.rung === 0 ? formatModel(model.label, model.scale) : model.rungLabel;
    this.#setTile('load', formatPercent(Math.min(1, load)), `${working}, ${formatDevice(model.device)}`, busy);
    const dropped = realDrops(drops);
    const total = dropped.reduce((sum, [, count]) => sum + count, 0);
    const [worst] = dropped;
    this.#setTile('drops', String(total), worst === undefined ? 'since the start' : `mostly: ${dropReason(worst[0])}`);
    const items = dropped.map(([reason, count]) =>
      h('li', {}, h('span', {}, dropReason(reason)), h('b', {}, String(count))),
    );
    this.#drops.replaceChildren(...(items.length > 0 ? items : [h('li', {}, 'none')]));
    this.#renderSteps(broadcast);
    this.#renderRows(broadcast);
  }

  #renderRates() {
    const { broadcast, uplink, downlink } = this.#figures;
    const source = broadcast?.source;
    const output = broadcast?.output;
    const sentBps = uplink?.bitrateBps ?? source?.bitrateBps ?? 0;
    const width = uplink?.width || source?.width || 0;
    const height = uplink?.height || source?.height || 0;
    const fps = uplink?.fps || source?.framesPerSecond || 0;
    const codec = uplink?.codec || source?.codec || '';
    const limited = uplink?.limitation === 'bandwidth' ? ', held by the network' : '';
    this.#setTile(
      'uplink',
      formatBitrate(sentBps),
      `${formatSize(width, height)}, ${formatFps(fps)}${codec && `, ${codec}`}${limited}`,
    );
    const resultBps = output?.bitrateBps ?? 0;
    const resultSize = formatSize(output?.width ?? 0, output?.height ?? 0);
    // A viewer's own line decides what arrives here; the publisher reads what the server makes.
    const shown = uplink === undefined ? downlink : undefined;
    const shownSize = shown !== undefined && shown.width > 0 ? formatSize(shown.width, shown.height) : resultSize;
    const shownFps = formatFps(shown?.fps ?? output?.framesPerSecond ?? 0);
    const resultCodec = shown?.codec || output?.codec || '';
    this.#setTile(
      'result',
      formatBitrate(shown?.bitrateBps ?? resultBps),
      `${shownSize}, ${shownFps}${resultCodec && `, ${resultCodec}`}`,
    );
  }

  /** @param {BroadcastStats} broadcast */
  #renderSteps({ steps }) {
    const most = Math.max(1, ...Object.values(steps));
    for (const [key, ms] of Object.entries(steps)) {
      const { bar, value } = this.#steps.get(key) ?? this.#addStep(key);
      bar.style.width = `${(100 * ms) / most}%`;
      setText(value, formatMs(ms));
    }
  }

  /** @param {string} key */
  #addStep(key) {
    const step = { bar: h('span', { class: 'step-bar' }), value: h('span', { class: 'step-value' }, '–') };
    this.#steps.set(key, step);
    const name = h('span', { class: 'step-name' }, stepLabel(key));
    this.#way.append(h('div', { class: 'step' }, name, h('span', { class: 'step-track' }, step.bar), step.value));
    return step;
  }

  /** @param {BroadcastStats} broadcast */
  #renderRows({ model, source, viewers, audio }) {
    const { viewer, downlink, uplink, lagMs } = this.#figures;
    const name = formatKind(model.rung > 0 && !isSuperResolution(model) ? 'resize' : model.kind);
    const what = isSuperResolution(model) ? `Super-resolution (${name})` : `${name} (no super-resolution)`;
    this.#setRow('model', model.label);
    this.#setRow('kind', what);
    this.#setRow('device', formatDevice(model.device));
    this.#setRow('scale', `×${model.scale}`);
    this.#setRow('rung', model.rungLabel === '' ? String(model.rung) : model.rungLabel);
    this.#setRow('received', downlink === undefined ? '–' : formatBitrate(downlink.bitrateBps));
    this.#setRow('roundTrip', formatMs(uplink?.roundTripMs ?? downlink?.roundTripMs ?? viewer?.roundTripMs));
    this.#setRow('buffer', formatMs(downlink?.bufferMs));
    const clock = source.timestampsReplaced > 0 ? `; ${source.timestampsReplaced} unusable timestamps` : '';
    this.#setRow('lost', `${source.packetsLost} up, ${downlink?.packetsLost ?? 0} down${clock}`);
    const estimate = viewer?.estimateBps ?? null;
    const low = viewer?.rendition === 'low' ? ', so you get the small picture' : '';
    this.#setRow('estimate', estimate === null ? '–' : `${formatBitrate(estimate)}${low}`);
    this.#setRow('lag', lagMs === undefined ? '–' : `${Math.round(lagMs)} ms`);
    this.#setTile('viewers', String(viewers), uplink === undefined ? 'you included' : 'without this page');
    this.#setRow('audio', audio.present ? `on, delayed by ${formatMs(audio.delayMs)} to match the lips` : 'none');
    const held = `pictures wait ${formatMs(source.reorderMs)} for their order; the original is not forwarded`;
    this.#setRow('reorder', source.reorderMs > 0 && !source.forwarded ? held : 'none');
  }
}
