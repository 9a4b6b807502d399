import { watchUrl } from './broadcast-list.js';
import { isBroadcastName, nameOfPath } from './broadcast-name.js';
import { CompareView } from './compare-view.js';
import { byId, copyButton } from './dom.js';
import { Notice } from './notice.js';
import { ServerStatus } from './server-status.js';
import { SignalingClient } from './signaling-client.js';
import { StatsPanel } from './stats-panel.js';
import { WakeLock } from './wake-lock.js';
import { WatchSession } from './watch-session.js';

/** The watch-only page: /watch/<name>. */
const name = nameOfPath(location.pathname);
const valid = isBroadcastName(name);

document.title = `${name} · FlashVSR Live`;
byId('title', HTMLElement).textContent = name;

const notice = new Notice(byId('notice', HTMLElement));
const view = new CompareView(byId('compare', HTMLElement));

if (valid) {
  byId('actions', HTMLElement).append(copyButton(() => watchUrl(name), 'Copy the link to this page'));
  const signaling = new SignalingClient();
  new ServerStatus(byId('status', HTMLElement), signaling);
  const stats = new StatsPanel(byId('stats', HTMLElement), 'viewer');
  const session = new WatchSession({ signaling, name, view, stats });
  const wakeLock = new WakeLock();
  session.onPlaying.add((playing) => wakeLock.set(playing));
  signaling.onState.add((state) => {
    if (state.kind === 'refused' || (state.kind === 'waiting' && state.attempt > 1)) {
      notice.show({ tone: 'error', title: state.error.message, text: state.error.remedy });
    } else if (state.kind === 'open') notice.clear();
  });
  signaling.connect();
  session.start();
} else {
  view.setOverlay({
    title: 'There is no such broadcast',
    text: 'The name in the address is not one a broadcast can have.',
  });
}
