import { icon, setIcon } from './icons.js';

/** Small helpers around the DOM; text goes in as text only, never as HTML. */

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, string | boolean | undefined>} [attributes] `true` sets an empty one, `false` none
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children);
  return element;
}

/**
 * The element with this id; the HTML file and its script belong together, so a missing one is a defect.
 * @template {HTMLElement} T
 * @param {string} id
 * @param {{new (): T}} type
 * @returns {T}
 */
export function byId(id, type) {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`The page has no ${type.name} #${id}.`);
  return element;
}

/**
 * Writes only what changed, so that screen readers and selections are left alone.
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * A button that copies `text()`.
 * @param {() => string} text
 * @param {string} label
 */
export function copyButton(text, label) {
  const button = h('button', { type: 'button', class: 'icon-button', 'aria-label': label, title: label }, icon('copy'));
  copyOnClick(button, text);
  return button;
}

/** Copies, and says for a moment that it did. @param {HTMLButtonElement} button @param {() => string} text */
export function copyOnClick(button, text) {
  const label = button.getAttribute('aria-label');
  button.addEventListener('click', () => {
    void writeClipboard(text()).then((done) => {
      setIcon(button, done ? 'check' : 'alert');
      button.setAttribute('aria-label', done ? 'Copied' : 'Copying is not allowed here');
      setTimeout(() => {
        setIcon(button, 'copy');
        if (label === null) button.removeAttribute('aria-label');
        else button.setAttribute('aria-label', label);
      }, 1600);
    });
  });
}

/** What lies over the page goes by Escape or a click beside it. @param {HTMLDetailsElement} details */
export function closeFromOutside(details) {
  details.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || !details.open) return;
    details.open = false;
    details.querySelector('summary')?.focus();
  });
  document.addEventListener('pointerdown', (event) => {
    if (event.target instanceof Node && !details.contains(event.target)) details.open = false;
  });
}

/** The clipboard API exists in secure pages only; the old way works everywhere. @param {string} text */
async function writeClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = h('textarea', { class: 'visually-hidden', readonly: true });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    return done;
  }
}
