import { accessKey } from './access-key.js';
import { h, setText } from './dom.js';
import { formatBytes } from './format.js';
import { icon } from './icons.js';
import { isLocalAddress } from './local-address.js';

/**
 * @typedef {object} RecordingEntry as `GET /recordings` gives it
 * @property {string} file
 * @property {string} url
 * @property {string} broadcast
 * @property {'result' | 'source'} track
 * @property {string} startedAt ISO 8601
 * @property {number} bytes
 * @property {boolean} open still being written
 */

/** The page shows the newest; the others are in their folder. */
const MOST_SHOWN = 20;

/** The operator's recordings, on the machine of the server alone: others are refused and not asked for. */
export class RecordingsList {
  #root;
  #list = h('ul', { class: 'recordings' });
  #more = h('p', { class: 'muted', hidden: true });
  #asking = false;
  #refused = !isLocalAddress();

  /** @param {HTMLDetailsElement} root hidden while there is nothing to download */
  constructor(root) {
    this.#root = root;
    root.append(h('div', { class: 'fold-body' }, this.#list, this.#more));
    root.addEventListener('toggle', () => root.open && void this.refresh());
  }

  async refresh() {
    if (this.#refused || this.#asking) return;
    this.#asking = true;
    try {
      const key = accessKey();
      const authorization = key === undefined ? {} : { Authorization: `Bearer ${key}` };
      const response = await fetch('/recordings', { headers: { Accept: 'application/json', ...authorization } });
      this.#refused = [401, 403, 404].includes(response.status);
      if (!response.ok) return;
      const { recordings } = /** @type {{recordings: RecordingEntry[]}} */ (await response.json());
      this.#show(recordings);
    } catch {
      // The server is away: the page says so elsewhere.
    } finally {
      this.#asking = false;
    }
  }

  /** @param {RecordingEntry[]} recordings newest first */
  #show(recordings) {
    this.#root.hidden = recordings.length === 0;
    this.#list.replaceChildren(...recordings.slice(0, MOST_SHOWN).map((each) => item(each)));
    const left = recordings.length - MOST_SHOWN;
    this.#more.hidden = left <= 0;
    setText(this.#more, `${left} older ones are in the recordings’ folder.`);
  }
}

/** @param {RecordingEntry} entry */
function item({ file, url, broadcast, track, startedAt, bytes, open }) {
  const started = new Date(startedAt).toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' });
  const facts = [
    started,
    formatBytes(bytes),
    ...(track === 'source' ? ['original'] : []),
    ...(open ? ['recording'] : []),
  ];
  const text = h('div', { class: 'broadcast-text' }, h('span', { class: 'broadcast-name' }, broadcast));
  text.append(h('span', { class: 'muted' }, facts.join(', ')));
  const label = `Download ${file}`;
  const download = { class: 'icon-button', href: url, download: file, 'aria-label': label, title: 'Download' };
  return h('li', {}, text, h('a', download, icon('download')));
}
