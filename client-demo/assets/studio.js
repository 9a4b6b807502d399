/** @import {LiveError} from './errors.js' */
/** @import {LinkState} from './peer-link.js' */
/** @import {BroadcastStats} from '../../server/signaling/protocol.ts' */
/** @import {SignalingState} from './signaling-client.js' */
import { BroadcastListView } from './broadcast-list.js';
import { openBeside, openCapture } from './capture.js';
import { ChannelName } from './channel-name.js';
import { CompareView } from './compare-view.js';
import { byId } from './dom.js';
import { EchoWarning } from './echo-warning.js';
import { drainNotice, insecureContextError, toLiveError } from './errors.js';
import { FirstScreen } from './first-screen.js';
import { drawIcons } from './icons.js';
import { LiveCard } from './live-card.js';
import { LiveControls } from './live-controls.js';
import { LiveLock, locksWork } from './live-lock.js';
import { Notice } from './notice.js';
import { OwnPicture } from './own-picture.js';
import { ProgramPanel } from './program-panel.js';
import { PublishForm } from './publish-form.js';
import { Publisher } from './publisher.js';
import { RecordingsList } from './recordings-list.js';
import { ServerStatus } from './server-status.js';
import { SendBackRule } from './send-back.js';
import { PageStore } from './settings.js';
import { SignalingClient } from './signaling-client.js';
import { StatsPanel } from './stats-panel.js';
import { WakeLock } from './wake-lock.js';
import { WatchSession } from './watch-session.js';

/** @typedef {import('./capture.js').Capture} Capture */
/**
 * @typedef {{kind: 'idle'}
 *   | {kind: 'opening', cancelled: boolean}
 *   | {kind: 'preview', capture: Capture}
 *   | {kind: 'publishing', publisher: Publisher, capture: Capture, watch: WatchSession | undefined, wasLive: boolean}} StudioState
 * `watch`: the result that comes back to this page, while it is wanted
 */

/** The main page: publishes and shows what comes back. */
class Studio {
  #store = new PageStore({ sharedTokens: locksWork() });
  #signaling = new SignalingClient();
  #notice = new Notice(byId('notice', HTMLElement));
  #view = new CompareView(byId('compare', HTMLElement));
  #firstScreen = new FirstScreen(this.#view);
  #ownPicture = new OwnPicture(this.#view);
  #echo = new EchoWarning(this.#notice);
  #sendBack = new SendBackRule();
  #stats = new StatsPanel(byId('stats', HTMLElement), 'publisher');
  #form = new PublishForm(this.#store.load());
  #channel = new ChannelName(this.#store, this.#form, this.#notice);
  #list = new BroadcastListView(byId('broadcasts', HTMLElement), byId('capacity', HTMLElement));
  #card = new LiveCard(this.#signaling);
  #programs = new ProgramPanel(byId('program', HTMLDetailsElement), this.#store);
  #recordings = new RecordingsList(byId('recordings', HTMLDetailsElement));
  #controls = new LiveControls(byId('live-controls', HTMLElement));
  #status = new ServerStatus(byId('status', HTMLElement), this.#signaling);
  #lock = new LiveLock();
  #wakeLock = new WakeLock();
  /** @type {StudioState} */
  #state = { kind: 'idle' };

  start() {
    this.#form.onStart.add(() => void this.#goLive());
    this.#form.onStop.add(() => this.#stop());
    this.#form.onPreview.add(() => void this.#togglePreview());
    this.#form.onSource.add(() => void this.#changeSource());
    this.#form.onChange.add((settings) => {
      this.#channel.save();
      this.#programs.show(settings);
      this.#ownPicture.setHeight(settings.height);
      this.#followSendBack(undefined);
      if (this.#state.kind === 'publishing') void this.#state.publisher.setQuality(settings);
      else if (this.#state.kind === 'preview') void this.#state.capture.setHeight(settings.height);
      else this.#explainKind();
    });
    this.#controls.onPause.add((paused) => void this.#pause(paused));
    this.#view.bar.onSound.add((on) => this.#echo.update(on, this.#controls.microphoneOpen));
    this.#signaling.onList.add((list) => {
      this.#list.show(list);
      void this.#recordings.refresh();
      if (this.#state.kind === 'idle') this.#channel.greet(list.broadcasts);
    });
    this.#signaling.onState.add((state) => this.#onSignaling(state));
    this.#signaling.onDraining.add(() => this.#notice.show(drainNotice()));
    byId('try-sample', HTMLButtonElement).addEventListener('click', () => {
      this.#form.choose('sample');
      this.#channel.save();
      void this.#goLive();
    });
    if (!isSecureContext && this.#form.settings.kind !== 'file') this.#form.choose('sample');
    this.#firstScreen.show();
    void this.#channel.claim().then(() => {
      this.#programs.show(this.#form.settings);
      this.#signaling.connect();
    });
  }

  async #goLive() {
    // Before the camera is asked for.
    if (this.#signaling.state.kind === 'refused') return this.#fail(this.#signaling.state.error);
    const { settings, request } = this.#form;
    const ready = this.#state.kind === 'preview' ? this.#state.capture : undefined;
    const opening = this.#open(settings.kind);
    try {
      if (!(await this.#lock.take(settings.name))) {
        ready?.close();
        this.#stop();
        this.#form.setNameError('This name is live in another tab of this browser. Choose another name.');
        return;
      }
      if (opening.cancelled) {
        ready?.close();
        if (this.#state.kind === 'idle') this.#lock.release();
        return;
      }
      const capture = ready ?? (await openCapture(request));
      if (opening.cancelled) capture.close();
      else this.#publish(capture);
    } catch (thrown) {
      if (!opening.cancelled) this.#fail(toLiveError(thrown));
    }
  }

  async #togglePreview() {
    if (this.#state.kind === 'preview') return this.#stop();
    const opening = this.#open(this.#form.settings.kind);
    try {
      const capture = await openCapture(this.#form.request);
      if (opening.cancelled) capture.close();
      else this.#showPreviewOf(capture);
    } catch (thrown) {
      if (!opening.cancelled) this.#fail(toLiveError(thrown));
    }
  }

  /** @param {string} kind */
  #open(kind) {
    /** @type {Extract<StudioState, {kind: 'opening'}>} */
    const opening = { kind: 'opening', cancelled: false };
    if (this.#state.kind !== 'preview') this.#view.showNothing();
    this.#state = opening;
    this.#notice.clear();
    this.#form.setPhase('starting');
    this.#firstScreen.leave();
    const titles = { camera: 'Allow the camera', screen: 'Choose what to share' };
    this.#view.setOverlay({ title: titles[/** @type {'camera'} */ (kind)] ?? 'Starting', busy: true });
    return opening;
  }

  /** @param {Capture} capture */
  #showPreviewOf(capture) {
    this.#state = { kind: 'preview', capture };
    this.#form.setPhase('preview');
    this.#view.setOverlay(undefined);
    this.#use(capture, false);
    capture.onEnded.add((error) => this.#endedBy(capture, error));
  }

  /** Shows a capture, its controls and where it comes from. @param {Capture} capture @param {boolean} live */
  #use(capture, live) {
    const watching = this.#state.kind === 'publishing' && this.#state.watch !== undefined;
    if (!watching) this.#showOwn(capture, live ? 'Your picture' : 'Preview, not live');
    this.#controls.show(capture, live);
    void this.#form.showDevices(capture.stream);
  }

  /** @param {Capture} capture @param {string} label */
  #showOwn(capture, label) {
    this.#ownPicture.show(capture, this.#form.settings.height, label);
  }

  /** @param {Capture} capture */
  #publish(capture) {
    const settings = this.#form.settings;
    const { name } = settings;
    const codec = new URLSearchParams(location.search).get('codec');
    const publisher = new Publisher({
      signaling: this.#signaling,
      store: this.#store,
      capture,
      name,
      quality: settings,
      ...(codec !== null && { codec }),
    });
    const fromPreview = this.#ownPicture.shown;
    this.#sendBack.reset();
    this.#state = { kind: 'publishing', publisher, capture, watch: undefined, wasLive: false };
    this.#use(capture, true);
    if (!fromPreview) capture.onEnded.add((error) => this.#endedBy(capture, error));
    publisher.onState.add((state) => this.#onPublisher(state));
    publisher.onUplink.add((uplink) => {
      this.#stats.update({ uplink });
      this.#form.showSent(uplink);
      if (this.#form.settings.auto && uplink.height > 0) this.#ownPicture.setHeight(uplink.height);
      this.#followSendBack(uplink.availableBps);
    });
    publisher.onStats.add(({ broadcast }) => this.#showWithoutResult(publisher, broadcast));
    publisher.start();
  }

  /** A capture that was replaced ends without a word. @param {Capture} capture @param {LiveError} error */
  #endedBy(capture, error) {
    if ('capture' in this.#state && this.#state.capture === capture) this.#fail(error);
  }

  /** Another source, camera or microphone in the preview, or while live. */
  async #changeSource() {
    const before = this.#state;
    if (before.kind !== 'preview' && before.kind !== 'publishing') return;
    const { request } = this.#form;
    if (request.kind === 'file' && request.file === undefined) return;
    try {
      const capture = await openBeside(request, before.capture);
      if (this.#state !== before) return capture.close();
      this.#notice.clear();
      if (before.kind === 'preview') {
        before.capture.close();
        this.#showPreviewOf(capture);
        return;
      }
      before.capture = capture;
      capture.onEnded.add((error) => this.#endedBy(capture, error));
      await before.publisher.replaceCapture(capture);
      this.#use(capture, true);
    } catch (thrown) {
      const { message, remedy } = toLiveError(thrown);
      this.#form.choose(before.capture.kind);
      this.#notice.show({ tone: 'error', title: message, text: remedy });
    }
  }

  /** @param {boolean} paused */
  async #pause(paused) {
    if (this.#state.kind !== 'publishing') return;
    const { publisher, capture } = this.#state;
    try {
      await (paused ? publisher.pauseVideo() : publisher.resumeVideo());
      this.#controls.setPaused(paused);
      if (!paused) void this.#form.showDevices(capture.stream);
    } catch (thrown) {
      const { message, remedy } = toLiveError(thrown);
      this.#notice.show({ tone: 'error', title: message, text: remedy });
    }
  }

  /** @param {LinkState} link */
  #onPublisher(link) {
    const state = this.#state;
    if (state.kind !== 'publishing') return;
    switch (link.kind) {
      case 'connected':
        this.#connected(state);
        break;
      case 'failed':
        this.#fail(link.error, state.wasLive);
        break;
      case 'waiting':
        this.#card.interrupt();
        this.#notice.show({ tone: 'warning', title: link.error.message, text: link.error.remedy });
        break;
      case 'interrupted':
        this.#card.interrupt();
        break;
      case 'offline':
        this.#card.interrupt();
        this.#stats.clear();
        // The own picture instead of black while the server is away.
        this.#showOwn(state.capture, 'Your picture');
        if (state.watch === undefined) this.#view.setOverlay({ title: 'Waiting for the server', busy: true });
        break;
      case 'negotiating':
      case 'connecting':
        if (state.watch === undefined) this.#view.setOverlay({ title: 'Connecting', busy: true });
        break;
    }
  }

  /** @param {Extract<StudioState, {kind: 'publishing'}>} state */
  #connected(state) {
    const { name } = state.publisher;
    this.#notice.clear();
    this.#form.setPhase('live');
    this.#wakeLock.set(true);
    this.#list.setOwn(name);
    if (state.wasLive) this.#card.show(name);
    state.wasLive = true;
    if (state.watch === undefined) this.#view.setOverlay(undefined);
    this.#followSendBack(undefined);
  }

  /** Gets the page's own result, or no longer. @param {number | undefined} lineBps as measured, once a second; undefined: nothing new */
  #followSendBack(lineBps) {
    const { kind, sendBack, maxBitrateBps } = this.#form.settings;
    const state = this.#state;
    const source = 'capture' in state ? state.capture.kind : kind;
    const back = this.#sendBack.update(performance.now(), { kind: source, choice: sendBack, maxBitrateBps, lineBps });
    this.#form.showSendBack(back);
    if (state.kind !== 'publishing' || !state.wasLive) return;
    if (back && state.watch === undefined) this.#watch(state);
    else if (!back && state.watch !== undefined) {
      state.watch.close();
      state.watch = undefined;
      this.#showOwn(state.capture, 'Your picture');
    }
  }

  /** What viewers get, in figures, while the picture itself does not come back. @param {Publisher} publisher @param {BroadcastStats} broadcast */
  #showWithoutResult(publisher, broadcast) {
    const state = this.#state;
    if (state.kind !== 'publishing' || state.publisher !== publisher || state.watch !== undefined) return;
    this.#stats.update({ broadcast });
    if (broadcast.output.width === 0) return;
    if (publisher.state.kind === 'connected' && !this.#card.onAir) this.#card.show(publisher.name);
    this.#status.showModel(broadcast.model);
    this.#card.showDelay(broadcast.addedLatencyMs.p50);
  }

  /** @param {Extract<StudioState, {kind: 'publishing'}>} state */
  #watch(state) {
    const { name } = state.publisher;
    const signaling = this.#signaling;
    const watch = new WatchSession({
      signaling,
      name,
      view: this.#view,
      stats: this.#stats,
      status: this.#status,
      own: true,
    });
    state.watch = watch;
    watch.onPlaying.add((playing) => playing && this.#ownPicture.end());
    watch.onAddedMs.add((ms) => this.#card.showDelay(ms));
    watch.onBroadcast.add((broadcast) => {
      if (broadcast === 'live') this.#card.show(name);
    });
    watch.start();
  }

  #stop() {
    const state = this.#state;
    if (state.kind === 'opening') state.cancelled = true;
    if (state.kind === 'preview') state.capture.close();
    if (state.kind === 'publishing') {
      state.watch?.close();
      state.publisher.close();
      this.#store.forgetResumeToken(state.publisher.name);
    }
    this.#state = { kind: 'idle' };
    this.#lock.release();
    this.#ownPicture.end();
    this.#controls.show(undefined, false);
    this.#form.setPhase('idle');
    this.#form.showSent(undefined);
    this.#status.showModel(undefined);
    this.#sendBack.reset();
    this.#wakeLock.set(false);
    this.#card.hide();
    this.#list.setOwn('');
    this.#stats.clear();
    this.#notice.clear();
    this.#firstScreen.show();
  }

  /** @param {LiveError} error @param {boolean} [wasLive] */
  #fail(error, wasLive = false) {
    // Others may hold the name only for now: the token stays, so that this browser can come back.
    const keep = this.#state.kind === 'publishing' ? this.#state.publisher.name : undefined;
    const token = keep === undefined ? undefined : this.#store.resumeToken(keep);
    const taken = error.code === 'broadcast.nameTaken';
    this.#stop();
    if (keep !== undefined && token !== undefined && !taken) this.#store.keepResumeToken(keep, token);
    if (taken && wasLive) {
      const title = 'This broadcast moved to another tab or program.';
      this.#notice.show({ tone: 'info', title, text: 'It is live there.' });
    } else if (taken) this.#form.setNameError('This name is in use. Choose another name.');
    else this.#notice.show({ tone: 'error', title: error.message, text: error.remedy });
  }

  /** @param {SignalingState} state */
  #onSignaling(state) {
    if (state.kind === 'refused') this.#list.setUnreachable('Shown to those with a key.');
    else if (state.kind === 'open' || state.kind === 'idle') this.#list.setUnreachable(undefined);
    else this.#list.setUnreachable('The list returns with the connection.');
    if (state.kind === 'refused') this.#fail(state.error);
    if (state.kind === 'open') {
      this.#firstScreen.nameModel(state.welcome.model);
      if (this.#state.kind === 'idle') this.#explainKind();
    }
    if (state.kind !== 'waiting') return;
    // While live this stands over the picture already.
    const known = this.#state.kind === 'publishing' && state.error.code === 'page.disconnected';
    if (known) this.#notice.clear();
    else this.#notice.show({ tone: 'warning', title: state.error.message, text: state.error.remedy });
  }

  /** What a person should know about the chosen source before starting. */
  #explainKind() {
    const { kind } = this.#form.settings;
    if (!isSecureContext && (kind === 'camera' || kind === 'screen')) {
      const { message, remedy } = insecureContextError();
      this.#notice.show({ tone: 'warning', title: message, text: remedy });
    } else if (this.#signaling.state.kind === 'open') this.#notice.clear();
  }
}

drawIcons();
new Studio().start();
