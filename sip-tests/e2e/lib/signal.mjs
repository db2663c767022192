// Tones: made, found, measured. Runs in Node and in the page alike.

/** Mono 16-bit PCM of `seconds` with a tone of `hertz` at `level` (amplitude, 1 = full scale), on for `on` and off for `off` seconds. */
export function bursts(rate, seconds, hertz, level, on, off) {
  const samples = new Float32Array(Math.round(rate * seconds));
  for (let i = 0; i < samples.length; i++) {
    const t = i / rate;
    const phase = t % (on + off);
    const edge = Math.min(phase, on - phase) / 0.01; // 10 ms ramps: no clicks
    const gate = phase < on ? Math.min(1, edge) : 0;
    samples[i] = level * gate * Math.sin(2 * Math.PI * hertz * t);
  }
  return samples;
}

/** Root mean square of samples in dB below full scale; silence is -120. */
export function rmsDb(samples) {
  let sum = 0;
  for (const s of samples) sum += s * s;
  return samples.length ? Math.max(-120, 10 * Math.log10(sum / samples.length + 1e-12)) : -120;
}

/** Power of one frequency, by direct correlation under a Hann window. */
function power(samples, rate, hertz) {
  let re = 0, im = 0;
  const n = samples.length;
  for (let i = 0; i < n; i++) {
    const w = samples[i] * (0.5 - 0.5 * Math.cos((2 * Math.PI * i) / n));
    const a = (2 * Math.PI * hertz * i) / rate;
    re += w * Math.cos(a);
    im -= w * Math.sin(a);
  }
  return re * re + im * im;
}

/** The strongest frequency between 150 and 3400 Hz, found coarsely and then to 0.1 Hz, and its share of the energy (1 = a pure tone). */
export function strongest(all, rate) {
  const samples = all.length > 16384 ? all.subarray(0, 16384) : all;
  const best = (from, to, step) => {
    let top = [from, -1];
    for (let f = from; f <= to; f += step) {
      const p = power(samples, rate, f);
      if (p > top[1]) top = [f, p];
    }
    return top;
  };
  const step = rate / samples.length / 2;
  const [coarse] = best(150, 3400, step);
  const [hertz, p] = best(coarse - step, coarse + step, 0.1);
  let energy = 0;
  for (let i = 0; i < samples.length; i++) {
    const w = samples[i] * (0.5 - 0.5 * Math.cos((2 * Math.PI * i) / samples.length));
    energy += w * w;
  }
  // a pure tone under a Hann window: power / energy = n/2 · (1/4) / (3/8) = n/3
  return { hertz, purity: energy ? p / energy / (samples.length / 3) : 0 };
}

/** The loudest stretch of four fifths of `seconds`: of a tone on for that long, one without its pauses. */
export function loudest(samples, rate, seconds) {
  const size = Math.round(rate * seconds * 0.8);
  let best = [0, -1];
  for (let at = 0; at + size <= samples.length; at += Math.round(rate / 50)) {
    let sum = 0;
    for (let i = at; i < at + size; i += 4) sum += samples[i] ** 2;
    if (sum > best[1]) best = [at, sum];
  }
  return samples.subarray(best[0], best[0] + size);
}

/** RMS level in dB of each window of `ms`. */
export function envelope(samples, rate, ms) {
  const size = Math.round((rate * ms) / 1000);
  const levels = [];
  for (let i = 0; i + size <= samples.length; i += size) levels.push(rmsDb(samples.subarray(i, i + size)));
  return levels;
}

/** Aligns two envelopes (same window) and compares them where the reference is loud: lag in windows, mean difference in dB, windows compared. */
export function compareEnvelopes(reference, measured, loud = -45) {
  let best = null;
  for (let lag = -measured.length + 1; lag < reference.length; lag++) {
    let n = 0, sum = 0, miss = 0;
    for (let i = 0; i < measured.length; i++) {
      const r = reference[i + lag];
      if (r === undefined) continue;
      n++;
      miss += Math.abs(Math.max(r, -60) - Math.max(measured[i], -60));
      if (r > loud && reference[i + lag - 1] > loud && reference[i + lag + 1] > loud) sum++;
    }
    if (sum < 10 || n < measured.length / 2) continue;
    const cost = miss / n;
    if (!best || cost < best.cost) best = { lag, cost };
  }
  if (!best) return null;
  const differences = [];
  for (let i = 0; i < measured.length; i++) {
    const [before, r, after] = [-1, 0, 1].map((d) => reference[i + best.lag + d]);
    if (r > loud && before > loud && after > loud) differences.push(measured[i] - r);
  }
  differences.sort((a, b) => a - b);
  return { lag: best.lag, difference: differences[differences.length >> 1], windows: differences.length };
}
