// The browser side of a WaGo call: the same API calls as the published program makes, for those who have only
// this repository. `sip-tests/run --wago-program FILE` runs the published one instead.
const server = "https://your-wago-server.com";
const ask = async (path, options = {}) => {
  const response = await fetch(server + path, { ...options, headers: { token: "YOUR_TOKEN", ...options.headers } });
  const body = await response.json();
  return body.data ?? body;
};

const { iceServers } = await ask("/call/webrtc/config");
const peer = new RTCPeerConnection({ iceServers });
const microphone = await navigator.mediaDevices.getUserMedia({
  audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true },
});
microphone.getAudioTracks().forEach((track) => peer.addTrack(track, microphone));
peer.addEventListener("track", ({ streams: [stream] }) => {
  const speaker = document.querySelector("audio");
  speaker.srcObject = stream;
  speaker.play();
});

await peer.setLocalDescription(await peer.createOffer());
// the API has no trickle: the offer leaves when all candidates are in it
while (peer.iceGatheringState !== "complete") {
  await new Promise((done) => peer.addEventListener("icegatheringstatechange", done, { once: true }));
}
const { type, sdp } = peer.localDescription;
const answer = await ask("/call/webrtc/offer", {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ callID: "CALL_ID", type, sdp }),
});
await peer.setRemoteDescription({ type: answer.type, sdp: answer.sdp });
