/** @import {Broadcast, Output, Source, ViewerRow} from './admin-api.js' */
import { namePath } from './broadcast-name.js';
import { confirmButton } from './confirm-button.js';
import { h, setText } from './dom.js';
import {
  dropReason,
  formatBitrate,
  formatDuration,
  formatFps,
  formatMs,
  formatPercent,
  formatSize,
  realDrops,
  rungNote,
} from './format.js';
import { SparkChart } from './spark-chart.js';

/**
 * @typedef {object} BroadcastActions
 * @property {(name: string) => void} kick
 * @property {(source: string) => void} stopSource
 * @property {(broadcast: string) => void} record
 * @property {(output: string) => void} stopOutput
 */

/** One broadcast: how it does, and what can be done about it. */
export class AdminBroadcast {
  element;
  #name;
  #state = h('span', { class: 'chip' });
  #dot = h('span', { class: 'dot' });
  #facts = h('p', { class: 'muted' });
  #rung = h('p', { class: 'rung-note', hidden: true });
  #ladder = h('p', { class: 'muted' });
  #drops = h('ul', { class: 'drop-list' });
  #viewers = h('ul', { class: 'admin-rows' });
  #viewersTitle = h('summary', {});
  #record = h('button', { type: 'button', class: 'secondary' }, 'Record');
  #end;
  #stopSource;
  /** @type {Output | undefined} of the button, at work */
  #recording;
  #charts = {
    load: new SparkChart('Upscaler load', formatPercent, 1),
    latency: new SparkChart('Added latency, p95', formatMs),
    rate: new SparkChart('Result', formatBitrate),
    frames: new SparkChart('Frames', formatFps),
  };

  /** @param {string} name @param {BroadcastActions} actions */
  constructor(name, actions) {
    this.#name = name;
    const title = h('h2', {}, this.#dot, h('a', { href: `/watch/${namePath(name)}` }, name), this.#state);
    this.#record.addEventListener('click', () => {
      if (this.#recording === undefined) actions.record(name);
      else actions.stopOutput(this.#recording.name);
    });
    this.#end = confirmButton('End it', 'End it, and refuse the name for 5 minutes?', () => actions.kick(name));
    this.#stopSource = confirmButton('Stop the source', 'Stop pulling this source?', () => actions.stopSource(name));
    const charts = Object.values(this.#charts).map(({ element }) => element);
    this.element = h(
      'article',
      { class: 'card admin-broadcast', 'aria-label': name },
      h('div', { class: 'card-head' }, title),
      this.#facts,
      this.#rung,
      h('div', { class: 'sparks' }, ...charts),
      h('div', {}, this.#ladder, this.#drops),
      h('details', {}, this.#viewersTitle, this.#viewers),
      h('div', { class: 'admin-actions' }, this.#record, this.#stopSource, this.#end),
    );
  }

  /**
   * @param {Broadcast} broadcast
   * @param {readonly Output[]} outputs
   * @param {readonly Source[]} sources
   */
  show(broadcast, outputs, sources) {
    const { state, stats, startedAt, viewers, sessions } = broadcast;
    setText(this.#state, state);
    this.#dot.className = `dot dot-${state}`;
    const age = formatDuration(Date.now() - Date.parse(startedAt));
    const facts = [age, `${viewers} ${viewers === 1 ? 'viewer' : 'viewers'}`];
    if (stats !== null && stats.source.width > 0) {
      const { source, output } = stats;
      facts.push(`${formatSize(source.width, source.height)} ${source.codec} at ${formatBitrate(source.bitrateBps)}`);
      facts.push(`→ ${formatSize(output.width, output.height)} ${output.codec}`);
    }
    setText(this.#facts, facts.join(' · '));
    this.#charts.load.push(stats?.load ?? 0);
    this.#charts.latency.push(stats?.addedLatencyMs.p95 ?? 0);
    this.#charts.rate.push(stats?.output.bitrateBps ?? 0);
    this.#charts.frames.push(stats?.output.framesPerSecond ?? 0);
    const note = stats === null ? undefined : rungNote(stats.model);
    this.#rung.hidden = note === undefined;
    setText(this.#rung, note ?? '');
    const model = stats?.model;
    setText(this.#ladder, model?.rungLabel ? `Ladder: rung ${model.rung}, ${model.rungLabel}` : 'No picture yet.');
    this.#showDrops(stats?.drops ?? {});
    setText(this.#viewersTitle, `Connections of viewers: ${sessions.length}`);
    this.#viewers.replaceChildren(...sessions.map((each) => viewerRow(each)));
    this.#showRecording(outputs);
    const pulled = sources.some(({ name }) => name === this.#name);
    this.#stopSource.hidden = !pulled;
    this.#end.hidden = pulled || state === 'waiting';
  }

  /** @param {Readonly<Record<string, number>>} drops */
  #showDrops(drops) {
    const rows = realDrops(drops).map(([reason, count]) => {
      return h('li', {}, h('span', {}, `${dropReason(reason)} (${reason})`), h('b', {}, String(count)));
    });
    this.#drops.replaceChildren(...rows);
  }

  /** @param {readonly Output[]} outputs */
  #showRecording(outputs) {
    const recordings = outputs.filter(({ type, state }) => type === 'recording' && state !== 'stopped');
    this.#recording = recordings.find(({ name, broadcast }) => broadcast === this.#name && name.startsWith('rec-'));
    const others = recordings.some(({ broadcast }) => broadcast === '*' || broadcast === this.#name);
    setText(this.#record, this.#recording === undefined ? 'Record' : 'Stop recording');
    this.#record.setAttribute('aria-pressed', String(this.#recording !== undefined));
    this.#record.title = others && this.#recording === undefined ? 'Another output records it already.' : '';
  }
}

/** @param {ViewerRow} viewer */
function viewerRow({ state, own, codec, bitrateBps, fractionLost, roundTripMs, rendition }) {
  const facts = [
    own ? 'publisher’s own page' : state,
    ...(codec === null ? [] : [codec]),
    rendition,
    formatBitrate(bitrateBps),
    `${formatPercent(fractionLost)} lost`,
    formatMs(roundTripMs),
  ];
  return h('li', {}, facts.join(' · '));
}
