/** @import {BroadcastList as List, BroadcastSummary} from '../../server/signaling/protocol.ts' */
import { namePath } from './broadcast-name.js';
import { copyButton, h, setText } from './dom.js';
import { formatSize } from './format.js';
import { icon } from './icons.js';

/** @param {string} name */
export function watchUrl(name) {
  return `${location.origin}/watch/${namePath(name)}`;
}

/** What is live on this server, with a link each. */
export class BroadcastListView {
  #list;
  #empty;
  #capacity;
  #own = '';
  /** What stands in place of the list. @type {string | undefined} */
  #unreachable;
  /** @type {List} */
  #content = { broadcasts: [], capacity: { used: 0, total: 0 } };
  #shown = '';

  /** @param {HTMLElement} root @param {HTMLElement} capacity */
  constructor(root, capacity) {
    this.#capacity = capacity;
    this.#list = h('ul', { class: 'broadcasts' });
    this.#empty = h('p', { class: 'muted' }, 'No broadcasts yet.');
    root.append(this.#list, this.#empty);
  }

  /** @param {List} content */
  show(content) {
    this.#content = content;
    this.#render();
  }

  /** The broadcast of this page, marked in the list. @param {string} name */
  setOwn(name) {
    this.#own = name;
    this.#render();
  }

  /** Without the server the list is of the past. @param {string | undefined} instead what is said in its place */
  setUnreachable(instead) {
    this.#unreachable = instead;
    this.#render();
  }

  #render() {
    const { capacity, broadcasts } = this.#content;
    const reachable = this.#unreachable === undefined;
    const known = reachable && capacity.total > 0;
    setText(this.#capacity, known ? `${capacity.used} of ${capacity.total} in use` : '');
    this.#capacity.classList.toggle('full', known && capacity.used >= capacity.total);
    setText(this.#empty, this.#unreachable ?? 'No broadcasts yet.');
    this.#list.hidden = !reachable;
    this.#empty.hidden = reachable && broadcasts.length > 0;
    const key = JSON.stringify([broadcasts, this.#own]);
    if (key === this.#shown) return;
    this.#shown = key;
    this.#list.replaceChildren(...broadcasts.map((broadcast) => this.#item(broadcast)));
  }

  /** @param {BroadcastSummary} broadcast */
  #item({ name, state, viewers, sourceWidth, sourceHeight, outputWidth, outputHeight }) {
    const title = h('a', { href: watchUrl(name), target: '_blank', rel: 'noopener' }, name);
    const heading = h('span', { class: 'broadcast-name' }, h('span', { class: `dot dot-${state}` }), title);
    if (name === this.#own) heading.append(h('span', { class: 'chip' }, 'you'));
    const text = h('span', { class: 'muted' });
    // The server keeps the name and its place for the broadcaster's return.
    if (state === 'waiting') text.append('No video right now');
    else {
      const sizes = `${formatSize(sourceWidth, sourceHeight)} → ${formatSize(outputWidth, outputHeight)}`;
      const watching = `${viewers} ${viewers === 1 ? 'viewer' : 'viewers'}`;
      text.append(outputWidth > 0 ? `${watching}, ${sizes}` : watching);
    }
    const watch = { class: 'icon-button', href: watchUrl(name), target: '_blank', rel: 'noopener' };
    const open = h('a', { ...watch, 'aria-label': `Watch ${name}`, title: 'Watch' }, icon('watch'));
    const copy = copyButton(() => watchUrl(name), `Copy the link to ${name}`);
    return h('li', {}, h('div', { class: 'broadcast-text' }, heading, text), open, copy);
  }
}
