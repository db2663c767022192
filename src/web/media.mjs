// The browser's side of a call: microphone, peer connection, and whether anything arrives.
import { Level } from './level.mjs';

/** Candidates that take longer than this to gather are left out: host candidates come at once. */
const GATHER_MS = 2_000;
/** How often the path is looked at. */
const LOOK_MS = 500;
/** Nothing at all for so long, and the sound is interrupted: on a sound path a check is answered every 2.5 s. */
const QUIET_MS = 3_500;

const failed = (kind) => Object.assign(new Error(kind), { kind });

/** The microphone, or why there is none. */
export async function microphone() {
  if (!navigator.mediaDevices) throw failed('insecure');
  return navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true } });
}

/** Whether a microphone may be opened without a question to the person; not every browser tells. */
const permission = async () => navigator.permissions?.query({ name: 'microphone' }).catch(() => null);

export class Media {
  #closing = new AbortController();
  #isAsking = false;
  #progress = 0;
  #progressAt = 0;

  /**
   * `element` plays what the other side says; `onChange` hears of each change of `path` and `hasMicrophone`, `onFailed`
   * when there is no path (`no-path`), or none any more (`lost`).
   */
  constructor({ api, stream, element, onChange, onFailed }) {
    Object.assign(this, { api, element, onChange, onFailed });
    this.isMuted = false;
    this.them = null;
    /** `new`, `connecting`, `connected`, `interrupted`, `failed` */
    this.path = 'new';
    this.#take(stream);
    this.timer = setInterval(() => this.#look(), LOOK_MS);
    const until = { signal: this.#closing.signal };
    const look = () => !this.hasMicrophone && this.#takeAnother();
    navigator.mediaDevices.addEventListener('devicechange', look, until);
    permission().then((status) => status?.addEventListener('change', look, until));
  }

  /** Joins a call: our offer with its candidates, the server's answer with its own. Again: over another connection. */
  async attach(callID) {
    const config = await this.#config();
    if (this.#closing.signal.aborted) return;
    this.pc?.close();
    const pc = (this.pc = new RTCPeerConnection(config));
    this.sender = pc.addTrack(this.stream.getAudioTracks()[0], this.stream);
    pc.ontrack = ({ streams: [stream] }) => {
      this.element.srcObject = stream;
      this.element.play().catch(() => {});
      this.them?.close();
      this.them = new Level(stream);
    };
    this.#enter('connecting');
    pc.onconnectionstatechange = () => pc === this.pc && this.#follow(pc.connectionState);
    await pc.setLocalDescription();
    await gathered(pc);
    if (this.#closing.signal.aborted) return;
    const { type, sdp } = pc.localDescription;
    // as Firefox without a network, and browsers that are told to keep their addresses
    if (!/^a=candidate:/m.test(sdp)) throw failed('no-address');
    try {
      const answer = await this.api.post('/call/webrtc/offer', { callID, type, sdp });
      if (pc.signalingState !== 'closed') await pc.setRemoteDescription({ type: answer.type, sdp: answer.sdp });
    } catch (error) {
      throw /no common codec/.test(error.message) ? failed('codec') : error;
    }
  }

  async #config() {
    const { iceServers } = await this.api.get('/call/webrtc/config');
    return { iceServers, bundlePolicy: 'max-bundle' };
  }

  // ---- the path

  #enter(path) {
    if (this.path === path || this.#closing.signal.aborted) return;
    this.path = path;
    this.onChange();
  }

  #follow(state) {
    if (state === 'connected') {
      this.#progressAt = Date.now();
      this.wasConnected = true;
      this.#enter('connected');
    } else if (state === 'disconnected') {
      this.#enter('interrupted');
    } else if (state === 'failed') {
      this.#enter('failed');
      this.onFailed(failed(this.wasConnected ? 'lost' : 'no-path'));
    }
  }

  /** The connection itself notices late that nothing arrives: its counters are looked at. */
  async #look() {
    if (!['connected', 'interrupted'].includes(this.path)) return;
    const { pc } = this;
    let progress = 0;
    let isCounted = false; // not every browser counts the answered checks, and on hold nothing else may come
    for (const s of (await pc.getStats()).values()) {
      if (s.type === 'inbound-rtp') progress += s.packetsReceived ?? 0;
      if (s.type === 'candidate-pair' && s.responsesReceived !== undefined) {
        isCounted = true;
        progress += s.responsesReceived + (s.requestsReceived ?? 0);
      }
    }
    if (pc !== this.pc || pc.connectionState !== 'connected') return;
    if (progress !== this.#progress || !isCounted) {
      this.#progress = progress;
      this.#progressAt = Date.now();
    }
    this.#enter(Date.now() - this.#progressAt > QUIET_MS ? 'interrupted' : 'connected');
  }

  // ---- the microphone

  #take(stream) {
    const isOther = !!this.stream;
    for (const track of this.stream?.getTracks() ?? []) {
      track.onended = null;
      track.stop();
    }
    this.you?.close();
    this.stream = stream;
    this.you = new Level(stream);
    this.hasMicrophone = true;
    const [track] = stream.getAudioTracks();
    track.enabled = !this.isMuted;
    track.onended = () => {
      this.hasMicrophone = false;
      this.onChange();
      this.#takeAnother();
    };
    if (isOther) this.onChange();
  }

  async #takeAnother() {
    if ((await permission())?.state === 'granted') await this.takeMicrophone().catch(() => {}); // what is shown says that there is none
  }

  /** Speaks with whatever microphone there is now. */
  async takeMicrophone() {
    if (this.#isAsking || this.#closing.signal.aborted) return;
    this.#isAsking = true;
    try {
      const stream = await microphone();
      if (this.#closing.signal.aborted) return stop(stream);
      await this.sender?.replaceTrack(stream.getAudioTracks()[0]);
      this.#take(stream);
    } finally {
      this.#isAsking = false;
    }
  }

  mute(isMuted) {
    this.isMuted = isMuted;
    for (const track of this.stream.getAudioTracks()) track.enabled = !isMuted;
  }

  close() {
    this.#closing.abort();
    clearInterval(this.timer);
    this.onFailed = this.onChange = () => {};
    this.pc?.close();
    this.element.srcObject = null;
    this.you.close();
    this.them?.close();
    stop(this.stream);
  }
}

/** Lets a microphone go. */
export function stop(stream) {
  for (const track of stream.getTracks()) {
    track.onended = null;
    track.stop();
  }
}

function gathered(pc) {
  return new Promise((done) => {
    const look = () => pc.iceGatheringState === 'complete' && done();
    pc.addEventListener('icegatheringstatechange', look);
    setTimeout(done, GATHER_MS);
    look();
  });
}
