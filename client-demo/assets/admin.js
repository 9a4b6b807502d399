/** @import {Overview} from './admin-api.js' */
import { AdminApi, ApiProblem, recordingName } from './admin-api.js';
import { AdminBroadcast } from './admin-broadcast.js';
import { AdminServer, showEnds, showErrors } from './admin-server.js';
import { byId, h, setText } from './dom.js';
import { Notice } from './notice.js';

/** The operations page: asks the server again and again, and does what its buttons say. */

const POLL_MS = 2000;

const api = new AdminApi();
const notice = new Notice(byId('notice', HTMLElement));
const panels = byId('panels', HTMLElement);
const connection = byId('connection', HTMLElement);
const connectionText = h('span', {});
const signIn = byId('sign-in', HTMLFormElement);
const token = byId('token', HTMLInputElement);
const signOut = byId('sign-out', HTMLButtonElement);
const list = byId('broadcasts', HTMLElement);
const [ends, errors] = [byId('ends', HTMLElement), byId('errors', HTMLElement)];
const server = new AdminServer(byId('server', HTMLElement), () => void act(() => api.drain()));
const nothing = h('p', { class: 'card muted' }, 'Nobody publishes at present.');
/** @type {Map<string, AdminBroadcast>} */
const broadcasts = new Map();
/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;
/** Which answer may still be shown: one that was asked for before an action is old. */
let asked = 0;

const actions = {
  /** @param {string} name */
  kick: (name) => void act(() => api.kick(name)),
  /** @param {string} name */
  stopSource: (name) => void act(() => api.stopSource(name)),
  /** @param {string} name */
  record: (name) => void act(() => api.record(recordingName(name), name)),
  /** @param {string} name */
  stopOutput: (name) => void act(() => api.stopOutput(name)),
};

connection.append(h('span', { class: 'dot' }), connectionText);
signIn.addEventListener('submit', (event) => {
  event.preventDefault();
  api.use(token.value.trim());
  token.value = '';
  void refresh();
});
signOut.addEventListener('click', () => {
  api.use(undefined);
  void refresh();
});
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) void refresh();
});
void refresh();

async function refresh() {
  clearTimeout(timer);
  const own = (asked += 1);
  try {
    const overview = await api.overview();
    if (own !== asked) return;
    show(overview);
  } catch (thrown) {
    if (own !== asked) return;
    if (!(thrown instanceof ApiProblem)) throw thrown;
    refused(thrown);
    if (thrown.status === 401 || thrown.status === 403) return;
  }
  if (!document.hidden) timer = setTimeout(() => void refresh(), POLL_MS);
}

/** @param {Overview} overview */
function show({ status, broadcasts: found, outputs, sources }) {
  connected('open', 'Connected');
  notice.clear();
  signIn.hidden = true;
  panels.hidden = false;
  signOut.hidden = !api.hasToken;
  server.show(status);
  for (const [name, { element }] of broadcasts) {
    if (found.some((each) => each.name === name)) continue;
    element.remove();
    broadcasts.delete(name);
  }
  if (found.length === 0) list.replaceChildren(nothing);
  else nothing.remove();
  for (const each of found) {
    let card = broadcasts.get(each.name);
    if (card === undefined) {
      card = new AdminBroadcast(each.name, actions);
      broadcasts.set(each.name, card);
      list.append(card.element);
    }
    card.show(each, outputs, sources);
  }
  showEnds(ends, outputs, sources);
  showErrors(errors, status.errors);
}

/** @param {ApiProblem} problem */
function refused({ status, message, remedy }) {
  if (status !== 401 && status !== 403) {
    connected('waiting', 'Trying again');
    notice.show({ tone: 'warning', title: message, text: remedy });
    return;
  }
  connected('refused', 'Not signed in');
  panels.hidden = true;
  signIn.hidden = false;
  signOut.hidden = true;
  // Without a token the form says what is wanted.
  if (api.hasToken || status === 403) notice.show({ tone: 'error', title: message, text: remedy });
  else notice.clear();
  api.use(undefined);
  token.focus();
}

/** @param {string} state @param {string} text */
function connected(state, text) {
  connection.dataset['state'] = state;
  setText(connectionText, text);
}

/** @param {() => Promise<void>} run */
async function act(run) {
  try {
    await run();
  } catch (thrown) {
    if (!(thrown instanceof ApiProblem)) throw thrown;
    // It stands until the next answer would clear it: the next question waits a while.
    clearTimeout(timer);
    asked += 1;
    notice.show({ tone: 'error', title: thrown.message, text: thrown.remedy });
    timer = setTimeout(() => void refresh(), 4 * POLL_MS);
    return;
  }
  await refresh();
}
