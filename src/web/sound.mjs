// Sounds of the telephone itself: it rings, it tells that the other side rings, its keys have tones.
import { audio } from './level.mjs';

const LOW = [697, 770, 852, 941];
const HIGH = [1209, 1336, 1477];
const KEYS = ['123', '456', '789', '*0#'];

/** Tones from `at` for `seconds`, with soft edges. */
function tones(hertz, at, seconds, volume, into) {
  const gain = new GainNode(audio(), { gain: 0 });
  gain.connect(into);
  gain.gain.setTargetAtTime(volume, at, 0.01);
  gain.gain.setTargetAtTime(0, at + seconds, 0.015);
  for (const frequency of hertz) {
    const tone = new OscillatorNode(audio(), { frequency });
    tone.connect(gain);
    tone.start(at);
    tone.stop(at + seconds + 0.1);
  }
}

/** The tone of a key, for who pressed it. */
export function key(digit) {
  const row = KEYS.findIndex((keys) => keys.includes(digit));
  if (row < 0) return;
  tones([LOW[row], HIGH[KEYS[row].indexOf(digit)]], audio().currentTime, 0.1, 0.04, audio().destination);
}

/** Something that goes on until the function it returns is called. */
function repeat(everySeconds, sound) {
  const into = new GainNode(audio());
  into.connect(audio().destination);
  const once = () => audio().state === 'running' && sound(audio().currentTime + 0.02, into);
  once();
  const timer = setInterval(once, everySeconds * 1000);
  return () => {
    clearInterval(timer);
    into.disconnect();
  };
}

/** This telephone rings. */
function ring() {
  navigator.vibrate?.([400, 200, 400]);
  return repeat(3, (at, into) => {
    for (const [n, hertz] of [659, 784, 988, 784].entries()) tones([hertz, hertz * 2.01], at + n * 0.16, 0.14, 0.06, into);
  });
}

/** The other side's telephone rings. */
function ringback() {
  return repeat(5, (at, into) => tones([425], at, 1, 0.03, into));
}

let playing = { name: '', stop: () => {} };
/** Plays `ring` or `ringback` until something else is played; anything else is silence. */
export function play(name) {
  if (playing.name === name) return;
  playing.stop();
  playing = { name, stop: name === 'ring' ? ring() : name === 'ringback' ? ringback() : () => {} };
}
