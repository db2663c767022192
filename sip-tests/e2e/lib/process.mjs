// Child processes with their output kept, and waiting with a deadline.
import { spawn } from 'node:child_process';
import { once } from 'node:events';

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Asks `probe` until it gives something true; throws what was waited for otherwise. */
export async function until(what, probe, ms = 10_000, every = 50) {
  const end = Date.now() + ms;
  for (;;) {
    const value = await probe();
    if (value) return value;
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
    await sleep(every);
  }
}

export class Child {
  constructor(command, args, options = {}) {
    this.name = options.name ?? command;
    this.output = '';
    this.process = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    this.exited = once(this.process, 'exit').then(([code, signal]) => (this.exit = { code, signal }));
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream.setEncoding('utf8');
      stream.on('data', (text) => (this.output += text));
    }
  }

  /** Waits for a text in the output. */
  async says(text, ms = 10_000) {
    await until(`${this.name} says ${text}`, () => {
      if (this.exit) throw new Error(`${this.name} ended with ${JSON.stringify(this.exit)}:\n${this.output.slice(-4000)}`);
      return this.output.includes(text);
    }, ms);
  }

  async stop(signal = 'SIGTERM', ms = 15_000) {
    if (!this.exit) {
      this.process.kill(signal);
      const late = setTimeout(() => this.process.kill('SIGKILL'), ms);
      await this.exited;
      clearTimeout(late);
    }
    return this.exit;
  }
}

/** Runs a command to its end; throws with its output when it fails. */
export async function run(command, args, options = {}) {
  const child = new Child(command, args, options);
  const { code } = await child.exited;
  if (code !== 0 && !options.mayFail) throw new Error(`${command} ${args.join(' ')} ended with ${code}:\n${child.output}`);
  return child.output;
}
