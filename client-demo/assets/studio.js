/** @import {LiveError} from './errors.js' */
/** @import {LinkState} from './peer-link.js' */
/** @import {SignalingState} from './signaling-client.js' */
import { BroadcastListView, watchUrl } from './broadcast-list.js';
import { openCapture } from './capture.js';
import { CompareView } from './compare-view.js';
import { byId, copyOnClick, h, setText } from './dom.js';
import { insecureContextError, toLiveError } from './errors.js';
import { formatDuration } from './format.js';
import { Notice } from './notice.js';
import { PublishForm } from './publish-form.js';
import { Publisher } from './publisher.js';
import { ServerStatus } from './server-status.js';
import { TabStore } from './settings.js';
import { SignalingClient } from './signaling-client.js';
import { StatsPanel } from './stats-panel.js';
import { WakeLock } from './wake-lock.js';
import { WatchSession } from './watch-session.js';

/** @typedef {import('./capture.js').Capture} Capture */
/**
 * @typedef {{kind: 'idle'}
 *   | {kind: 'capturing', cancelled: boolean}
 *   | {kind: 'publishing', publisher: Publisher, capture: Capture, watch: WatchSession | undefined, sinceMs: number | undefined}} StudioState
 */

/** The main page: publishes and shows what comes back. */
class Studio {
  #store = new TabStore();
  #signaling = new SignalingClient();
  #notice = new Notice(byId('notice', HTMLElement));
  #view = new CompareView(byId('compare', HTMLElement));
  #stats = new StatsPanel(byId('stats', HTMLElement), 'publisher');
  #form = new PublishForm(this.#store.load());
  #list = new BroadcastListView(byId('broadcasts', HTMLElement), byId('capacity', HTMLElement));
  #liveCard = byId('live-card', HTMLElement);
  #liveTitle = byId('live-title', HTMLElement);
  #liveLink = byId('live-link', HTMLInputElement);
  #clock = byId('live-clock', HTMLElement);
  #wakeLock = new WakeLock();
  /** @type {StudioState} */
  #state = { kind: 'idle' };

  start() {
    new ServerStatus(byId('status', HTMLElement), this.#signaling);
    this.#form.onStart.add(() => void this.#goLive());
    this.#form.onStop.add(() => this.#stop());
    this.#form.onChange.add((settings) => {
      this.#store.save(settings);
      if (this.#state.kind === 'publishing') void this.#state.publisher.setQuality(settings);
      else this.#explainKind();
    });
    this.#signaling.onList.add((list) => this.#list.show(list));
    this.#signaling.onState.add((state) => this.#onSignaling(state));
    copyOnClick(byId('live-copy', HTMLButtonElement), () => this.#liveLink.value);
    this.#liveLink.addEventListener('focus', () => this.#liveLink.select());
    setInterval(() => this.#tick(), 1000);
    const settings = this.#form.settings;
    this.#store.save(settings);
    if (!isSecureContext && settings.kind !== 'file') this.#form.choose('sample');
    this.#showEmpty();
    this.#signaling.connect();
  }

  async #goLive() {
    const settings = this.#form.settings;
    /** @type {Extract<StudioState, {kind: 'capturing'}>} */
    const capturing = { kind: 'capturing', cancelled: false };
    this.#state = capturing;
    this.#notice.clear();
    this.#form.setPhase('starting');
    this.#view.setOverlay({ title: settings.kind === 'camera' ? 'Asking for the camera' : 'Starting', busy: true });
    try {
      const { file, deviceId } = this.#form;
      const request = { ...settings, ...(file && { file }), ...(deviceId && { deviceId }) };
      const capture = await openCapture(request);
      if (capturing.cancelled) capture.close();
      else this.#publish(capture);
    } catch (thrown) {
      if (!capturing.cancelled) this.#fail(toLiveError(thrown));
    }
  }

  /** @param {Capture} capture */
  #publish(capture) {
    const settings = this.#form.settings;
    const publisher = new Publisher({
      signaling: this.#signaling,
      store: this.#store,
      capture,
      name: settings.name,
      quality: settings,
    });
    this.#state = { kind: 'publishing', publisher, capture, watch: undefined, sinceMs: undefined };
    void this.#form.refreshCameras();
    this.#view.showPreview(capture.stream, `${capture.label}, before sending`);
    capture.onEnded.add((error) => this.#fail(error));
    publisher.onState.add((state) => this.#onPublisher(state));
    publisher.onUplink.add((uplink) => this.#stats.update({ uplink }));
    publisher.onStats.add(({ broadcast }) => this.#stats.update({ broadcast }));
    publisher.start();
  }

  /** @param {LinkState} link */
  #onPublisher(link) {
    const state = this.#state;
    if (state.kind !== 'publishing') return;
    switch (link.kind) {
      case 'connected':
        this.#onAir(state);
        break;
      case 'failed':
        this.#fail(link.error);
        break;
      case 'waiting':
        this.#notice.show({ tone: 'warning', title: link.error.message, text: `Trying again. ${link.error.remedy}` });
        break;
      case 'interrupted':
        this.#notice.show({ tone: 'warning', title: 'Your uplink is interrupted.', text: 'Looking for a new path.' });
        break;
      case 'offline':
        if (state.watch === undefined) this.#view.setOverlay({ title: 'Waiting for the server', busy: true });
        break;
      case 'negotiating':
      case 'connecting':
        if (state.watch === undefined) this.#view.setOverlay({ title: 'Connecting', busy: true });
        break;
    }
    this.#liveTitle.dataset['state'] = link.kind;
  }

  /** @param {Extract<StudioState, {kind: 'publishing'}>} state */
  #onAir(state) {
    const { name } = state.publisher;
    this.#notice.clear();
    this.#form.setPhase('live');
    this.#wakeLock.set(true);
    state.sinceMs ??= Date.now();
    this.#liveCard.hidden = false;
    this.#liveLink.value = watchUrl(name);
    byId('live-open', HTMLAnchorElement).href = watchUrl(name);
    this.#list.setOwn(name);
    if (state.watch !== undefined) return;
    state.watch = new WatchSession({ signaling: this.#signaling, name, view: this.#view, stats: this.#stats });
    state.watch.start();
  }

  #stop() {
    if (this.#state.kind === 'capturing') this.#state.cancelled = true;
    if (this.#state.kind === 'publishing') {
      const { publisher, watch } = this.#state;
      watch?.close();
      publisher.close();
      this.#store.forgetResumeToken(publisher.name);
    }
    this.#state = { kind: 'idle' };
    this.#form.setPhase('idle');
    this.#wakeLock.set(false);
    this.#liveCard.hidden = true;
    this.#list.setOwn('');
    this.#stats.clear();
    this.#view.showNothing();
    this.#showEmpty();
  }

  /** @param {LiveError} error */
  #fail(error) {
    // Others may hold the name only for now: the token stays, so that this tab can come back.
    const keep = this.#state.kind === 'publishing' ? this.#state.publisher.name : undefined;
    const token = keep === undefined ? undefined : this.#store.resumeToken(keep);
    this.#stop();
    if (keep !== undefined && token !== undefined && error.code !== 'broadcast.nameTaken') {
      this.#store.keepResumeToken(keep, token);
    }
    this.#notice.show({ tone: 'error', title: error.message, text: error.remedy });
    if (error.code === 'broadcast.nameTaken') this.#form.setNameError('This name is in use; choose another.');
  }

  /** @param {SignalingState} state */
  #onSignaling(state) {
    if (state.kind === 'open' && this.#state.kind === 'idle') this.#welcome();
    if (state.kind === 'refused') this.#fail(state.error);
    if (state.kind === 'waiting') {
      this.#notice.show({ tone: 'warning', title: state.error.message, text: state.error.remedy });
    }
    if (this.#state.kind === 'idle') this.#showEmpty();
  }

  /** Connected, and nothing is sent yet. */
  #welcome() {
    const { name } = this.#form.settings;
    if (this.#store.resumeToken(name) === undefined) {
      this.#explainKind();
      return;
    }
    const text = 'Go live again and your viewers carry on under the same link.';
    this.#notice.show({ tone: 'info', title: `This tab was live as “${name}”.`, text });
  }

  /** What a person should know about the chosen source before starting. */
  #explainKind() {
    const { kind } = this.#form.settings;
    if (!isSecureContext && (kind === 'camera' || kind === 'screen')) {
      const { message, remedy } = insecureContextError();
      this.#notice.show({ tone: 'warning', title: message, text: remedy });
    } else if (this.#signaling.state.kind === 'open') this.#notice.clear();
  }

  #tick() {
    if (this.#state.kind !== 'publishing' || this.#state.sinceMs === undefined) return;
    setText(this.#clock, formatDuration(Date.now() - this.#state.sinceMs));
  }

  #showEmpty() {
    const { state } = this.#signaling;
    const factor = state.kind === 'open' ? `${state.welcome.model.scale} times` : 'several times';
    const steps = [
      'Choose a camera, a screen, a file or the sample clip',
      'Go live at 180 to 360 lines',
      'Share the link',
    ];
    this.#view.setOverlay({
      title: 'A small picture up, a large one down',
      text: `Send a few hundred kilobits a second. The server makes the picture ${factor} as wide and high for every viewer.`,
      extra: h('ol', { class: 'how' }, ...steps.map((step) => h('li', {}, step))),
    });
  }
}

new Studio().start();
