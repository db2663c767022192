// Runs every flow against a real Asterisk with a real Chromium. See ../run.
//
// Most of a flow is waiting, so two lanes run beside each other, each a process of its own: the flows that share a world,
// and those that bring all they need. Ports are therefore unique over all flows.
import { fork } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { createSocket } from 'node:dgram';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { Browser } from './lib/browser.mjs';
import { Pbx } from './lib/pbx.mjs';
import { Report } from './lib/check.mjs';
import { Api, Sipedge, configuration } from './lib/sipedge.mjs';
import { bursts } from './lib/signal.mjs';
import { writeWav } from './lib/wav.mjs';

const { values } = parseArgs({
  options: {
    binary: { type: 'string' }, home: { type: 'string' }, out: { type: 'string' }, program: { type: 'string' }, only: { type: 'string' },
    lane: { type: 'string' }, // of this process, told by the first one
  },
});
const { binary, home, out } = values;
mkdirSync(out, { recursive: true });
const program = readFileSync(values.program ?? new URL('./program.js', import.meta.url), 'utf8');

const tone = { hertz: 700, on: 0.4, off: 0.4 };
const microphone = path.join(out, `microphone-${values.lane ?? 'all'}.wav`);
writeWav(microphone, bursts(48_000, 8, tone.hertz, 0.25, tone.on, tone.off), 48_000);

const report = new Report();
const stops = [];
const started = (thing) => {
  stops.push(() => thing.stop());
  return thing;
};

// a rejection that nobody awaits must not end the process before everything is stopped
process.on('unhandledRejection', (error) => report.check('nothing fails unseen', false, error?.stack ?? error));

/** The two PBXs, the browser and the sipedge that most flows share. */
async function world() {
  const hasV6 = readFileSync('/proc/net/if_inet6', 'utf8').includes('00000000000000000000000000000001');
  const pbx = await started(new Pbx({ home, name: 'v4', ports: 25060, peer: 25080 })).start();
  const pbx6 = hasV6 ? await started(new Pbx({ home, name: 'v6', bind: '::1', ports: 25160, peer: 25180 })).start() : null;
  report.check('IPv6 loopback is there', hasV6);
  const browser = started(await Browser.start({ microphone, program }));
  console.log(`Chromium ${browser.version}`);

  // a peer that takes everything and answers nothing, and a port that nobody has
  const hole = createSocket('udp4');
  await new Promise((done) => hole.bind(0, '127.0.0.1', done));
  started({ stop: () => hole.close() });
  const shut = createSocket('udp4');
  const closedPort = await new Promise((done) => shut.bind(0, '127.0.0.1', () => done(shut.address().port)));
  shut.close();

  const trunk = (name, host, codec, { password = 'trunk-in-pw', qualify = '10s' } = {}) => `
[trunk.${name}]
host = "${host}"
user = "trunk-in"
password = "${password}"
codecs = ["${codec}"]
inbound = "off"
qualify = "${qualify}"

[account.${name}]
token = "${name}-token-0123456789"

[[route]]
from = "account.${name}"
to = "trunk.${name}"
`;
  const host = `127.0.0.1:${pbx.sipPort}`;
  const extra = [
    trunk('pcmu', host, 'PCMU'), trunk('pcma', host, 'PCMA'), trunk('g722', host, 'G722'), trunk('opus', host, 'opus'),
    trunk('wrong', host, 'PCMU', { password: 'not-the-password' }),
    // known to be down, they would fail at once, and it is the failing that is looked at
    trunk('closed', `127.0.0.1:${closedPort}`, 'PCMU', { qualify: 'off' }),
    trunk('hole', `127.0.0.1:${hole.address().port}`, 'PCMU', { qualify: 'off' }), '[account.nowhere]\ntoken = "nowhere-token-0123456789"\n',
    '[[route]]\nnumber = "1003"\nto = "account.anna"\ntimeout = "2s"\n',
  ].join('');
  const ports = { http: 21337, sip: 25080, webrtc: 27000, rtp: 40000 };
  const config = configuration({ ...ports, host, origin: browser.origin, extra }).replace('[[route]]\nto = "trunk.pbx"', '[[route]]\nfrom = "account.anna"\nto = "trunk.pbx"');
  const sipedge = await started(new Sipedge({ binary, out, name: 'main', config })).start();

  let next = 0;
  return {
    report, started, microphone, program, pbx, pbx6, browser, tone, sipedge, out, binary, home, origin: browser.origin,
    account: (name) => `${name}-token-0123456789`,
    api: (token) => new Api(`http://127.0.0.1:${ports.http}`, token),
    /** A sipedge and a browser of their own, for one flow. */
    variant: async ({ name, bind = '127.0.0.1', features = [], microphone: speaks = microphone, ...more }) => {
      next++;
      const v6 = bind.includes(':');
      const own = await Browser.start({ microphone: speaks, program, bind, features });
      const p = { http: 23400 + next, sip: 25200 + next, webrtc: 27100 + next * 4, rtp: 41000 + next * 400 };
      const toml = configuration({ ...p, bind, host: `${v6 ? pbx6.host : '127.0.0.1'}:${(v6 ? pbx6 : pbx).sipPort}`, origin: own.origin, ...more });
      const edge = new Sipedge({ binary, out, name, config: toml });
      await edge.start();
      const base = `http://${v6 ? '[::1]' : '127.0.0.1'}:${p.http}`;
      return { sip: p.sip, sipedge: edge, browser: own, client: new Api(base), stop: async () => { await own.stop(); if (!edge.child.exit) await edge.stop(); } };
    },
  };
}

/** The last that was started first. */
async function stopAll(what) {
  for (const stop of what.reverse()) {
    try {
      await stop();
    } catch (error) {
      report.check('everything stops cleanly', false, error.message);
    }
  }
}

/** The flows that are asked for. One that says it is alone brings all it needs: those run without the shared world. */
async function flowsAskedFor() {
  const files = readdirSync(new URL('./flows', import.meta.url)).filter((f) => f.endsWith('.mjs') && (!values.only || f.startsWith(values.only))).sort();
  const flows = await Promise.all(files.map(async (file) => ({ file, flow: await import(`./flows/${file}`) })));
  return values.lane ? flows.filter(({ flow }) => Boolean(flow.alone) === (values.lane === 'alone')) : flows;
}

/** Runs these flows one after the other; what went wrong beside the checks, or null. */
async function runFlows(flows) {
  let failure = null;
  try {
    const ctx = flows.every(({ flow }) => flow.alone) ? { report, tone, microphone, program, out, binary, home, started } : await world();
    for (const { file, flow } of flows) {
      console.log(`\n${flow.name} (${file})`);
      const begin = Date.now();
      const before = stops.length;
      try {
        await flow.run(ctx);
      } catch (error) {
        report.check(`${file} runs to its end`, false, error.stack);
        if (ctx.sipedge) console.log(ctx.sipedge.output.slice(-3000));
        // the flows after it need its ports
        await stopAll(stops.splice(before));
      }
      console.log(`  ${((Date.now() - begin) / 1000).toFixed(1)} s`);
    }
  } catch (error) {
    failure = error;
    console.error(error);
  }
  await stopAll(stops);
  return failure;
}

/** Runs a lane in a process of its own, and prints each of its flows in one piece; its counts. */
async function runLane(lane) {
  const child = fork(new URL(import.meta.url), [...process.argv.slice(2), '--lane', lane], { silent: true });
  let counts = { passed: 0, failed: 1 }; // a lane that dies has failed
  child.on('message', (message) => { counts = message; });
  let waiting = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      waiting += text;
      const lastOfFlow = waiting.match(/^[^]*^  \d+\.\d s\n/m);
      if (!lastOfFlow) return;
      process.stdout.write(lastOfFlow[0]);
      waiting = waiting.slice(lastOfFlow[0].length);
    });
  }
  const code = await new Promise((done) => child.on('close', done));
  process.stdout.write(waiting);
  return { ...counts, failed: counts.failed || Number(code !== 0) };
}

const flows = await flowsAskedFor();
const isTwoWorlds = flows.some(({ flow }) => flow.alone) && !flows.every(({ flow }) => flow.alone);
if (values.lane || !isTwoWorlds) {
  const failure = await runFlows(flows);
  console.log(`\n${values.lane ? `lane ${values.lane}: ` : ''}${report.passed} passed, ${report.failed} failed`);
  const code = failure || report.failed || !report.passed ? 1 : 0;
  if (process.send) process.send({ passed: report.passed, failed: report.failed }, () => process.exit(code));
  else process.exit(code);
} else {
  const lanes = await Promise.all(['shared', 'alone'].map(runLane));
  const [passed, failed] = ['passed', 'failed'].map((what) => lanes.reduce((sum, lane) => sum + lane[what], 0));
  console.log(`\n${passed} passed, ${failed} failed, in ${lanes.length} lanes`);
  process.exit(failed ? 1 : 0);
}
