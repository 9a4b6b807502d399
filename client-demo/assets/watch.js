import { linkKey, withKey } from './access-key.js';
import { watchUrl } from './broadcast-list.js';
import { nameOfPath } from './broadcast-name.js';
import { CompareView } from './compare-view.js';
import { byId, closeFromOutside, copyButton } from './dom.js';
import { drainNotice } from './errors.js';
import { drawIcons } from './icons.js';
import { Notice } from './notice.js';
import { RecordButton } from './record-button.js';
import { ServerStatus } from './server-status.js';
import { SharePanel } from './share-panel.js';
import { SignalingClient } from './signaling-client.js';
import { StatsPanel } from './stats-panel.js';
import { WakeLock } from './wake-lock.js';
import { WatchSession } from './watch-session.js';

drawIcons();

/** The watch-only page: /watch/<name>. The server serves it under possible names only. */
const name = nameOfPath(location.pathname);
const title = `${name} · FlashVSR Live`;
document.title = title;
byId('title', HTMLElement).textContent = name;
// Without the key that this page came with, its copies would be refused.
const key = linkKey();
byId('actions', HTMLElement).prepend(copyButton(() => withKey(watchUrl(name), key), 'Copy the link to this page'));
const share = new SharePanel(byId('share', HTMLElement));
share.show(name, key);
closeFromOutside(byId('share-fold', HTMLDetailsElement));

const signaling = new SignalingClient();
const notice = new Notice(byId('notice', HTMLElement));
// A link leads to the picture; comparing is a choice.
const view = new CompareView(byId('compare', HTMLElement), { mode: 'result' });
const status = new ServerStatus(byId('status', HTMLElement), signaling);
const stats = new StatsPanel(byId('stats', HTMLElement), 'viewer');
const session = new WatchSession({ signaling, name, view, stats, status });
const wakeLock = new WakeLock();
const record = new RecordButton(view.bar, name);

session.onPlaying.add((playing) => {
  wakeLock.set(playing);
  record.setPlaying(playing);
  document.title = playing ? `Live: ${title}` : title;
});
session.onAddedMs.add((ms) => share.showDelay(ms));
signaling.onDraining.add(() => notice.show(drainNotice()));
signaling.onState.add((state) => {
  // That the connection is lost, or refused for good, stands over the picture already.
  const known = state.kind === 'refused' || (state.kind === 'waiting' && state.error.code === 'page.disconnected');
  if (state.kind === 'waiting' && !known) {
    notice.show({ tone: 'warning', title: state.error.message, text: state.error.remedy });
  } else if (state.kind === 'open' || known) notice.clear();
});
signaling.connect();
session.start();
