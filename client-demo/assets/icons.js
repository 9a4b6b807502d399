/** Icons as path data: part of the scripts, so that none is fetched when it is first needed and the server may be away. */
const PATHS = {
  camera:
    'M4 7.5A1.5 1.5 0 0 1 5.5 6h9A1.5 1.5 0 0 1 16 7.5v9a1.5 1.5 0 0 1-1.5 1.5h-9A1.5 1.5 0 0 1 4 16.5zM16 10.5l4.5-2.5v8L16 13.5',
  screen:
    'M4.5 4.5h15a1.5 1.5 0 0 1 1.5 1.5v9a1.5 1.5 0 0 1 -1.5 1.5h-15a1.5 1.5 0 0 1 -1.5 -1.5v-9a1.5 1.5 0 0 1 1.5 -1.5z M8.5 20h7M12 16.5V20',
  file: 'M13.5 3.5H7A1.5 1.5 0 0 0 5.5 5v14A1.5 1.5 0 0 0 7 20.5h10a1.5 1.5 0 0 0 1.5-1.5V8.5z M13.5 3.5v5h5M10.5 12v5l4-2.5z',
  sample: 'M3.5 12a8.5 8.5 0 1 0 17 0a8.5 8.5 0 1 0 -17 0z M10 8.5v7l5.5-3.5z',
  copy: 'M10 8.5h8a1.5 1.5 0 0 1 1.5 1.5v8a1.5 1.5 0 0 1 -1.5 1.5h-8a1.5 1.5 0 0 1 -1.5 -1.5v-8a1.5 1.5 0 0 1 1.5 -1.5z M5.5 15.5H5A1.5 1.5 0 0 1 3.5 14V5A1.5 1.5 0 0 1 5 3.5h9A1.5 1.5 0 0 1 15.5 5v.5',
  check: 'm5 12.5 4.5 4.5L19 7.5',
  wipe: 'M5 5h14a1.5 1.5 0 0 1 1.5 1.5v11a1.5 1.5 0 0 1 -1.5 1.5h-14a1.5 1.5 0 0 1 -1.5 -1.5v-11a1.5 1.5 0 0 1 1.5 -1.5z M12 3v18M6 12h2.5M15.5 12H18',
  split:
    'M4.5 6.5h5a1.5 1.5 0 0 1 1.5 1.5v8a1.5 1.5 0 0 1 -1.5 1.5h-5a1.5 1.5 0 0 1 -1.5 -1.5v-8a1.5 1.5 0 0 1 1.5 -1.5z M14.5 6.5h5a1.5 1.5 0 0 1 1.5 1.5v8a1.5 1.5 0 0 1 -1.5 1.5h-5a1.5 1.5 0 0 1 -1.5 -1.5v-8a1.5 1.5 0 0 1 1.5 -1.5z',
  loupe: 'M4 10.5a6.5 6.5 0 1 0 13 0a6.5 6.5 0 1 0 -13 0zM15.5 15.5l5 5M10.5 8v5M8 10.5h5',
  sound: 'M4 9.5v5h3.5L12 18.5v-13L7.5 9.5z M15.5 9a4.2 4.2 0 0 1 0 6M18 6.5a7.8 7.8 0 0 1 0 11',
  muted: 'M4 9.5v5h3.5L12 18.5v-13L7.5 9.5zM16 9.5l5 5m0-5-5 5',
  full: 'M4 9V5.5A1.5 1.5 0 0 1 5.5 4H9M15 4h3.5A1.5 1.5 0 0 1 20 5.5V9M20 15v3.5a1.5 1.5 0 0 1-1.5 1.5H15M9 20H5.5A1.5 1.5 0 0 1 4 18.5V15',
  alert: 'M12 4 2.8 19.5h18.4z M12 10v4.5M12 17v.2',
  info: 'M3.5 12a8.5 8.5 0 1 0 17 0a8.5 8.5 0 1 0 -17 0z M12 11v5.5M12 7.8V8',
  grip: 'm9 7-5 5 5 5M15 7l5 5-5 5',
  watch: 'M3.5 12a8.5 8.5 0 1 0 17 0a8.5 8.5 0 1 0 -17 0z M10 8.5v7l5.5-3.5z',
  result:
    'M11 3.5l1.9 5.1 5.1 1.9-5.1 1.9-1.9 5.1-1.9-5.1L4 10.5l5.1-1.9zM18 15.5l.9 2.1 2.1.9-2.1.9-.9 2.1-.9-2.1-2.1-.9 2.1-.9z',
  microphone:
    'M12 3.5a2.8 2.8 0 0 1 2.8 2.8v5a2.8 2.8 0 0 1-5.6 0v-5A2.8 2.8 0 0 1 12 3.5zM5.8 11.3a6.2 6.2 0 0 0 12.4 0M12 17.5v3',
  microphoneOff:
    'M12 3.5a2.8 2.8 0 0 1 2.8 2.8v5a2.8 2.8 0 0 1-5.6 0v-5A2.8 2.8 0 0 1 12 3.5zM5.8 11.3a6.2 6.2 0 0 0 12.4 0M12 17.5v3M4 4l16 16',
  cameraOff:
    'M4 7.5A1.5 1.5 0 0 1 5.5 6h9A1.5 1.5 0 0 1 16 7.5v9a1.5 1.5 0 0 1-1.5 1.5h-9A1.5 1.5 0 0 1 4 16.5zM16 10.5l4.5-2.5v8L16 13.5M4 4l16 16',
  pause: 'M8.5 5.5v13M15.5 5.5v13',
  play: 'M7.5 5v14l11-7z',
  exitFull:
    'M8.5 4v3.5A1.5 1.5 0 0 1 7 9H4M15.5 4v3.5A1.5 1.5 0 0 0 17 9h3M20 15h-3a1.5 1.5 0 0 0-1.5 1.5V20M4 15h3a1.5 1.5 0 0 1 1.5 1.5V20',
  window:
    'M5 5h14a1.5 1.5 0 0 1 1.5 1.5v11A1.5 1.5 0 0 1 19 19H5a1.5 1.5 0 0 1-1.5-1.5v-11A1.5 1.5 0 0 1 5 5zM12.5 12.5h5v3.5h-5z',
  snapshot:
    'M4.5 7.5h3l1.5-2h6l1.5 2h3a1 1 0 0 1 1 1v9a1 1 0 0 1-1 1h-15a1 1 0 0 1-1-1v-9a1 1 0 0 1 1-1zM8.8 13a3.2 3.2 0 1 0 6.4 0a3.2 3.2 0 1 0-6.4 0z',
  record: 'M4.5 12a7.5 7.5 0 1 0 15 0a7.5 7.5 0 1 0 -15 0z M9.5 12a2.5 2.5 0 1 0 5 0a2.5 2.5 0 1 0 -5 0z',
  stop: 'M6.5 6.5h11v11h-11z',
  share: 'M9.5 8 5 12l4.5 4M14.5 8 19 12l-4.5 4',
  shown:
    'M2.5 12c2-4 5.4-6.5 9.5-6.5s7.5 2.5 9.5 6.5c-2 4-5.4 6.5-9.5 6.5S4.5 16 2.5 12z M9 12a3 3 0 1 0 6 0a3 3 0 1 0 -6 0z',
  download: 'M12 4v10.5M7.5 10.5 12 15l4.5-4.5M5 19.5h14',
  actual: 'M6.5 9l2-1.5V16.5M15.5 9l2-1.5V16.5M12 10v.2M12 14v.2',
};

/** @typedef {keyof typeof PATHS} IconName */

const SVG = 'http://www.w3.org/2000/svg';

/** @param {string} name */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  const path = document.createElementNS(SVG, 'path');
  for (const [key, value] of Object.entries({ class: 'icon', viewBox: '0 0 24 24', 'aria-hidden': 'true' })) {
    svg.setAttribute(key, value);
  }
  svg.append(path);
  setPath(svg, name);
  return svg;
}

/** @param {Element} parent @param {IconName} name */
export function setIcon(parent, name) {
  const svg = parent.querySelector('svg.icon');
  if (svg !== null) setPath(svg, name);
}

/** Puts the icons into elements of the HTML files that name one: `<i data-icon="copy"></i>`. */
export function drawIcons() {
  for (const place of document.querySelectorAll('i[data-icon]')) {
    place.replaceWith(icon(place.getAttribute('data-icon') ?? ''));
  }
}

/** @param {Element} svg @param {string} name */
function setPath(svg, name) {
  const path = PATHS[/** @type {IconName} */ (name)];
  if (path === undefined) throw new Error(`There is no icon "${name}".`);
  if (svg.getAttribute('data-name') === name) return;
  svg.setAttribute('data-name', name);
  svg.firstElementChild?.setAttribute('d', path);
}
