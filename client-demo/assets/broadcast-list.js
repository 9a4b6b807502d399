/** @import {BroadcastList as List, BroadcastSummary} from '../../server/signaling/protocol.ts' */
import { namePath } from './broadcast-name.js';
import { copyButton, h, icon, setText } from './dom.js';
import { formatSize } from './format.js';

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
  /** @type {List} */
  #content = { broadcasts: [], capacity: { used: 0, total: 0 } };
  #shown = '';

  /** @param {HTMLElement} root @param {HTMLElement} capacity */
  constructor(root, capacity) {
    this.#capacity = capacity;
    this.#list = h('ul', { class: 'broadcasts' });
    this.#empty = h('p', { class: 'muted' }, 'Nobody is live. Be the first.');
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

  #render() {
    const { capacity } = this.#content;
    // Viewers may wait for any name they like; only what is published belongs into everybody's list.
    const broadcasts = this.#content.broadcasts.filter(({ state }) => state !== 'waiting');
    setText(this.#capacity, capacity.total > 0 ? `${capacity.used} of ${capacity.total} in use` : '');
    this.#capacity.classList.toggle('full', capacity.total > 0 && capacity.used >= capacity.total);
    this.#empty.hidden = broadcasts.length > 0;
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
    const sizes =
      outputWidth > 0 ? `${formatSize(sourceWidth, sourceHeight)} → ${formatSize(outputWidth, outputHeight)}, ` : '';
    const watching = `${viewers} ${viewers === 1 ? 'viewer' : 'viewers'}`;
    const text = h('span', { class: 'muted' }, `${sizes}${watching}, ${state}`);
    const open = h(
      'a',
      {
        class: 'icon-button',
        href: watchUrl(name),
        target: '_blank',
        rel: 'noopener',
        'aria-label': `Watch ${name}`,
        title: 'Watch',
      },
      icon('eye'),
    );
    const copy = copyButton(() => watchUrl(name), `Copy the link to ${name}`);
    return h('li', {}, h('div', { class: 'broadcast-text' }, heading, text), open, copy);
  }
}
