// Runs the WaGo program as it is published, its three placeholders replaced and nothing else changed, and
// measures what the microphone gives and what is heard.
import { envelope, loudest, rmsDb, strongest } from '/signal.mjs';

const audio = new AudioContext();
let pc = null;
let microphone = null;

const NativeConnection = window.RTCPeerConnection;
window.RTCPeerConnection = class extends NativeConnection {
  constructor(...args) {
    super(...args);
    pc = this;
  }
};
window.connection = () => pc;

const nativeMedia = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (constraints) => {
  const stream = await nativeMedia(constraints);
  microphone = tap(stream);
  return stream;
};

/** Keeps the last 30 s of a stream, with the time of its end. */
function tap(stream) {
  const source = audio.createMediaStreamSource(stream);
  const kept = { chunks: [], length: 0, source };
  // a ScriptProcessor runs without a module of its own and is exact to the sample
  const node = audio.createScriptProcessor(4096, 1, 1);
  node.onaudioprocess = (event) => {
    kept.chunks.push(new Float32Array(event.inputBuffer.getChannelData(0)));
    kept.length += 4096;
    while (kept.length > 30 * audio.sampleRate) kept.length -= kept.chunks.shift().length;
  };
  source.connect(node);
  node.connect(audio.destination);
  kept.node = node;
  return kept;
}

function samples(kept, seconds) {
  const wanted = Math.round(seconds * audio.sampleRate);
  const all = new Float32Array(kept.length);
  let at = 0;
  for (const chunk of kept.chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all.subarray(Math.max(0, all.length - wanted));
}

window.runProgram = async ({ api, token, callID }) => {
  await audio.resume();
  const text = await (await fetch('/program.js')).text();
  const filled = text.replaceAll('https://your-wago-server.com', api).replaceAll('YOUR_TOKEN', token).replaceAll('CALL_ID', callID);
  const AsyncFunction = (async () => {}).constructor;
  await new AsyncFunction(filled)();
};

/** A second offer of the same connection, after an ICE restart; says what the DTLS transport went through. */
window.restart = async ({ api, token, callID }) => {
  const dtls = pc.getSenders()[0].transport;
  const states = [];
  dtls.addEventListener('statechange', () => states.push(dtls.state));
  pc.addEventListener('connectionstatechange', () => states.push(pc.connectionState));
  const before = pc.currentRemoteDescription.sdp;
  pc.restartIce();
  const gathered = new Promise((done) => pc.addEventListener('icecandidate', (event) => event.candidate || done()));
  await pc.setLocalDescription(await pc.createOffer({ iceRestart: true }));
  await gathered;
  const { type, sdp } = pc.localDescription;
  const response = await fetch(`${api}/call/webrtc/offer`, {
    method: 'POST', headers: { token, 'content-type': 'application/json' }, body: JSON.stringify({ callID, type, sdp }),
  });
  const body = await response.json();
  const answer = body.data ?? body;
  await pc.setRemoteDescription({ type: answer.type, sdp: answer.sdp });
  const line = (text, name) => text.match(new RegExp(`a=${name}:(.*)`))[1].trim();
  const both = (name) => [line(before, name), line(answer.sdp, name)];
  return {
    states, same: pc.getSenders()[0].transport === dtls, dtls: dtls.state,
    ufrags: both('ice-ufrag'), fingerprints: both('fingerprint'), setups: both('setup'),
  };
};

let heard = null;
/** What a new listener takes until it hears, in seconds; and a burst of the microphone. */
const [SETTLES, BURST] = [0.3, 0.4];
/**
 * What is heard in the next `seconds`, as their level; and the strongest frequency, and its purity, of the loudest stretch since it
 * was asked: windows that come as regularly as the microphone's pauses would meet nothing but these.
 */
window.hear = async (seconds) => {
  const stream = document.querySelector('audio').srcObject;
  if (!heard || heard.stream !== stream) {
    heard?.node.disconnect();
    heard = Object.assign(tap(stream), { stream });
  }
  await new Promise((done) => setTimeout(done, (SETTLES + seconds) * 1000));
  const recent = samples(heard, seconds);
  const clear = loudest(samples(heard, SETTLES + seconds), audio.sampleRate, BURST);
  return { ...strongest(clear, audio.sampleRate), level: rmsDb(recent), seconds: recent.length / audio.sampleRate };
};

/** The same of each `step` seconds of what was heard last; every fourth sample is enough for a telephone's band. */
window.hearEach = (seconds, step) => {
  const recent = samples(heard, seconds).filter((_, i) => i % 4 === 0);
  const rate = audio.sampleRate / 4;
  const size = Math.round(step * rate);
  return Array.from({ length: Math.floor(recent.length / size) }, (_, i) => {
    const part = recent.subarray(i * size, (i + 1) * size);
    return { ...strongest(part, rate), level: rmsDb(part) };
  });
};

/** Level of what was heard in windows of `ms`, over the last `seconds`. */
window.heardEnvelope = (seconds, ms) => envelope(samples(heard, seconds), audio.sampleRate, ms);

/** Level of the microphone track in windows of `ms`, over the last `seconds`. */
window.microphoneEnvelope = (seconds, ms) => envelope(samples(microphone, seconds), audio.sampleRate, ms);

window.statistics = async () => {
  const all = [...(await pc.getStats()).values()];
  const transport = all.find((s) => s.type === 'transport') ?? {};
  const inbound = all.find((s) => s.type === 'inbound-rtp') ?? {};
  const outbound = all.find((s) => s.type === 'outbound-rtp') ?? {};
  const codec = all.find((s) => s.id === inbound.codecId);
  const pair = all.find((s) => s.id === transport.selectedCandidatePairId) ?? {};
  const local = all.find((s) => s.id === pair.localCandidateId) ?? {};
  const remote = all.find((s) => s.id === pair.remoteCandidateId) ?? {};
  const pairs = all.filter((s) => s.type === 'candidate-pair');
  const total = (what) => pairs.reduce((sum, p) => sum + (p[what] ?? 0), 0);
  return {
    srtp: transport.srtpCipher, tls: transport.tlsVersion, dtlsRole: transport.dtlsRole, iceRole: transport.iceRole,
    received: inbound.packetsReceived ?? 0, lost: inbound.packetsLost ?? 0, sent: outbound.packetsSent ?? 0,
    transport: transport.id, ufrag: transport.iceLocalUsernameFragment, dtls: transport.dtlsState,
    codec: codec?.mimeType, local: local.address, remote: remote.address,
    checksSent: total('requestsSent'), checksAnswered: total('responsesReceived'), checksReceived: total('requestsReceived'),
  };
};

window.ready = true;
