// The page's one audio context, and how loud a stream is.

let context;
/** The audio context; it starts with the first touch. */
export function audio() {
  context ??= new AudioContext();
  if (context.state === 'suspended') context.resume().catch(() => {});
  return context;
}

/** How loud a stream is, 0 to 1, as the eye expects it: -60 dB is nothing, -6 dB is all. */
export class Level {
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
