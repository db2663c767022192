// The browser's side of a call: microphone, peer connection, levels.

/** Candidates that take longer than this to gather are left out: host candidates come at once. */
const GATHER_MS = 2_000;

const failed = (kind) => Object.assign(new Error(kind), { kind });

let context;
/** The page's one audio context; it starts with the first touch. */
export function audio() {
  context ??= new AudioContext();
  if (context.state === 'suspended') context.resume().catch(() => {});
  return context;
}

/** The microphone, or why there is none. */
export async function microphone() {
  if (!navigator.mediaDevices) throw failed('insecure');
  return navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true } });
}

export class Media {
  /** `element` plays what the other side says; `onFailed` hears once when there is no path, or none any more. */
  constructor({ api, stream, element, onFailed }) {
    this.api = api;
    this.stream = stream;
    this.element = element;
    this.onFailed = onFailed;
    this.you = new Level(stream);
    this.them = null;
    this.isMuted = false;
  }

  /** Joins a call: our offer with its candidates, the server's answer with its own. */
  async attach(callID) {
    const pc = (this.pc = new RTCPeerConnection(await this.#config()));
    const [track] = this.stream.getAudioTracks();
    pc.addTrack(track, this.stream);
    pc.ontrack = ({ streams: [stream] }) => {
      this.element.srcObject = stream;
      this.element.play().catch(() => {});
      this.them = new Level(stream);
    };
    let wasConnected = false;
    pc.onconnectionstatechange = () => {
      if (pc.connectionState === 'connected') wasConnected = true;
      if (pc.connectionState === 'failed') this.onFailed(failed(wasConnected ? 'lost' : 'no-path'));
    };
    await pc.setLocalDescription();
    await gathered(pc);
    const { type, sdp } = pc.localDescription;
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

  mute(isMuted) {
    this.isMuted = isMuted;
    for (const track of this.stream.getAudioTracks()) track.enabled = !isMuted;
  }

  close() {
    this.onFailed = () => {};
    this.pc?.close();
    this.element.srcObject = null;
    this.you.close();
    this.them?.close();
    for (const track of this.stream.getTracks()) track.stop();
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

/** How loud a stream is, 0 to 1, as the eye expects it: -60 dB is nothing, -6 dB is all. */
class Level {
  constructor(stream) {
    this.source = audio().createMediaStreamSource(stream);
    this.node = new AnalyserNode(audio(), { fftSize: 1024 });
    this.samples = new Float32Array(this.node.fftSize);
    this.source.connect(this.node);
    this.shown = 0;
  }

  read() {
    this.node.getFloatTimeDomainData(this.samples);
    let sum = 0;
    for (const s of this.samples) sum += s * s;
    const db = 10 * Math.log10(sum / this.samples.length + 1e-9);
    const now = Math.min(1, Math.max(0, (db + 60) / 54));
    this.shown = Math.max(now, this.shown * 0.88); // falls slower than it rises
    return this.shown;
  }

  close() {
    this.source.disconnect();
  }
}
