/** @import {Output, ServerStatus, Source} from './admin-api.js' */
import { confirmButton } from './confirm-button.js';
import { h, setText } from './dom.js';
import { formatBitrate, formatBytes, formatDevice, formatDuration, formatModel } from './format.js';
import { SparkChart } from './spark-chart.js';

/** The server itself: load, engines, and its drain. */
export class AdminServer {
  #facts = h('p', { class: 'muted' });
  #draining = h(
    'p',
    { class: 'rung-note', hidden: true },
    'Draining: no new sessions are taken until the server is started again.',
  );
  #engines = h('ul', { class: 'admin-rows' });
  #drain;
  #charts = {
    processor: new SparkChart('Processor', (cores) => `${cores.toFixed(2)} cores`, 1),
    memory: new SparkChart('Memory', formatBytes),
    places: new SparkChart('Broadcasts', (count) => `${count}`, 1),
    viewers: new SparkChart('Viewers', (count) => `${count}`, 1),
    bitrateIn: new SparkChart('In', formatBitrate),
    bitrateOut: new SparkChart('Out', formatBitrate),
  };

  /** @param {HTMLElement} root @param {() => void} drain */
  constructor(root, drain) {
    this.#drain = confirmButton('Drain', 'Take no new sessions until the next start?', drain);
    const charts = Object.values(this.#charts).map(({ element }) => element);
    root.append(
      h(
        'div',
        { class: 'card' },
        h('div', { class: 'card-head' }, h('h2', {}, 'Server'), this.#drain),
        this.#facts,
        this.#draining,
        h('div', { class: 'sparks' }, ...charts),
        this.#engines,
      ),
    );
  }

  /** @param {ServerStatus} status */
  show(status) {
    const { version, uptimeSeconds, model, cores, processorLoad, residentBytes, broadcasts, capacity } = status;
    const name = formatModel(model.label, model.scale);
    const facts = [
      version,
      `up ${formatDuration(uptimeSeconds * 1000)}`,
      name,
      formatDevice(model.device),
      `${cores} cores`,
    ];
    setText(this.#facts, [...facts, `${broadcasts} of ${capacity} places taken`].join(' · '));
    this.#draining.hidden = !status.draining;
    this.#drain.hidden = status.draining;
    this.#charts.processor.push(processorLoad);
    this.#charts.memory.push(residentBytes);
    this.#charts.places.push(broadcasts);
    this.#charts.viewers.push(status.viewers);
    this.#charts.bitrateIn.push(status.bitrateInBps);
    this.#charts.bitrateOut.push(status.bitrateOutBps);
    const engines = status.engines.map(({ device, name: engine, streams, lost }) => {
      const what = device === engine ? formatDevice(device) : `GPU ${device}: ${engine}`;
      const row = h('li', {}, `${what} · ${streams} ${streams === 1 ? 'stream' : 'streams'}`);
      if (lost) row.append(' ', h('span', { class: 'chip chip-warning' }, 'lost until the next start'));
      return row;
    });
    this.#engines.replaceChildren(...engines);
  }
}

/** What is sent out and what is fetched. @param {HTMLElement} root @param {readonly Output[]} outputs @param {readonly Source[]} sources */
export function showEnds(root, outputs, sources) {
  const rows = [...sources.map((each) => sourceRow(each)), ...outputs.map((each) => outputRow(each))];
  root.hidden = rows.length === 0;
  const title = h('h2', {}, 'Outputs and sources');
  root.replaceChildren(h('div', { class: 'card' }, title, h('ul', { class: 'admin-rows' }, ...rows)));
}

/** @param {Output} output */
function outputRow({ name, type, broadcast, state, runs }) {
  const bytes = runs.reduce((sum, run) => sum + run.bytes, 0);
  const facts = `${type} of ${broadcast} · ${runs.map(({ target }) => target).join(', ') || 'nothing yet'} · ${formatBytes(bytes)}`;
  const error = runs.find((run) => run.error)?.error;
  return row(name, state, facts, error && `${error.message} ${error.remedy}`);
}

/** @param {Source} source */
function sourceRow({ name, target, state, lastError }) {
  const failed = state === 'waiting' ? lastError?.message : undefined;
  return row(name, state, `pulled from ${target}`, failed);
}

/** @param {string} name @param {string} state @param {string} facts @param {string} [problem] */
function row(name, state, facts, problem) {
  const chip = h('span', { class: problem === undefined ? 'chip' : 'chip chip-warning' }, state);
  const item = h('li', {}, h('b', {}, name), ' ', chip, h('span', { class: 'muted' }, facts));
  if (problem !== undefined) item.append(h('span', { class: 'admin-problem' }, problem));
  return item;
}

/** What the server met since its start, and what to do about it. @param {HTMLElement} root @param {ServerStatus['errors']} errors */
export function showErrors(root, errors) {
  const rows = errors.map(({ code, count, lastAt, remedy }) => {
    const when = new Date(lastAt).toLocaleTimeString([], { timeStyle: 'medium' });
    const facts = h('span', { class: 'muted' }, `${count} ${count === 1 ? 'time' : 'times'}, last at ${when}`);
    return h('li', {}, h('b', {}, code), ' ', facts, h('span', { class: 'admin-problem' }, remedy));
  });
  const none = h('p', { class: 'muted' }, 'None since the start.');
  const list = rows.length === 0 ? none : h('ul', { class: 'admin-rows' }, ...rows);
  root.replaceChildren(h('div', { class: 'card' }, h('h2', {}, 'Errors'), list));
}
