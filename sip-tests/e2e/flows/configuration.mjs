// What the program says of a configuration that cannot be used: everything at once, with file, key and remedy.
import { writeFileSync } from 'node:fs';
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import path from 'node:path';
import { Child } from '../lib/process.mjs';

export const name = 'configuration errors';

export async function run({ report, binary, out }) {
  const start = async (toml, env = {}) => {
    const file = path.join(out, 'wrong.toml');
    writeFileSync(file, toml);
    const child = new Child(binary, ['--config', file], { env: { ...process.env, ...env } });
    const { code } = await child.exited;
    return { code, said: child.output.replaceAll(file, 'FILE') };
  };
  const wrong = await start(`
[http]
lisen = "127.0.0.1:1"
[media]
rtp_ports = "5"
[srtp]
profiles = ["NULL"]
[trunk.pbx]
codecs = ["mp3"]
[account.a]
token = "short"
[[route]]
to = "trunk.pbc"
[trnk.x]
`, { SIPEDGE_ICE__LOOPBACK: 'perhaps' });
  report.equal('exit code of a wrong configuration (EX_CONFIG)', wrong.code, 78);
  for (const [what, text] of [
    ['unknown key', 'FILE: http.lisen: unknown key; did you mean `listen`?'],
    ['unknown table', 'FILE: trnk: unknown key; did you mean `trunk`?'],
    ['wrong range', 'FILE: media.rtp_ports: '],
    ['wrong profile', 'FILE: srtp.profiles'],
    ['missing host', 'FILE: trunk.pbx.host: write the PBX\'s HOST or HOST:PORT'],
    ['wrong codec', 'FILE: trunk.pbx.codecs: no such codec; there are: PCMU, PCMA, G722, opus'],
    ['short token', 'FILE: account.a.token: a token must have 16 characters or more'],
    ['wrong variable', 'environment variable SIPEDGE_ICE__LOOPBACK: ice.loopback: invalid type: string "perhaps", expected a boolean'],
  ]) {
    report.check(`names the ${what}`, wrong.said.includes(text), wrong.said.includes(text) ? '' : wrong.said);
  }
  report.check('shows no secret', !wrong.said.includes('"short"'), '');

  const missing = new Child(binary, ['--config', '/nonexistent/sipedge.toml']);
  report.equal('exit code of a missing file', (await missing.exited).code, 78);
  report.check('names the missing file', missing.output.includes('/nonexistent/sipedge.toml: file: cannot be read'), missing.output.trim());

  const udp = createSocket('udp4');
  await new Promise((done) => udp.bind(0, '127.0.0.1', done));
  const tcp = createServer();
  await new Promise((done) => tcp.listen(0, '127.0.0.1', done));
  const base = (sip, http) => `[http]\nlisten = "127.0.0.1:${http}"\n[sip]\nlisten = ["127.0.0.1:${sip}"]\n[media]\nwebrtc_port = 27950\naddresses = ["127.0.0.1"]\n[ice]\nloopback = true\n`;
  const sip = await start(base(udp.address().port, 21391));
  report.check('a taken SIP port is named', sip.code === 1 && sip.said.includes(`UDP 127.0.0.1:${udp.address().port} is taken`), sip.said.trim());
  const http = await start(base(25091, tcp.address().port));
  report.check('a taken HTTP port is named', http.code === 1 && http.said.includes(`127.0.0.1:${tcp.address().port} is taken by another program`), http.said.trim());
  const owner = `(process ${process.pid}) has it`;
  report.check('and who has them', sip.said.includes(owner) && http.said.includes(owner), http.said.trim().split('\n').at(-1));
  udp.close();
  tcp.close();

  // ---- commands
  const say = async (args, input = '') => {
    const child = spawn(binary, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (said += text));
    child.stdin.on('error', () => {}).end(input); // a program that reads nothing has ended before
    const [code] = await once(child, 'close');
    return { code, said };
  };
  const example = fileURLToPath(new URL('../../../config/sipedge.toml', import.meta.url));
  const good = await say(['check-config', '--config', example]);
  report.equal('check-config of the example', `${good.code} ${good.said.trim()}`, `0 ${example}: good`);
  const bad = path.join(out, 'wrong.toml');
  writeFileSync(bad, '[http]\nlisen = 1\n[route]\n');
  const refused = await say(['check-config', '--config', bad]);
  report.check('check-config names every mistake', refused.code === 78 && refused.said.trim().split('\n').length === 2, refused.said.trim());
  const routed = await say(['route', '600', '--from', 'demo', '--config', example]);
  report.check('route says which and why', routed.code === 0 && routed.said.includes('1. rings trunk.pbx as 600'), routed.said.trim());
  const back = await say(['route', '1001', '--from', 'pbx', '--config', example]);
  report.check('route of a call of the PBX', back.code === 0 && back.said.includes('it is for calls from account.demo') && back.said.includes('everything that account.demo has'), back.said.trim());
  report.equal('no route has an exit code of its own', (await say(['route', '999', '--from', 'pbx', '--config', example])).code, 1);
  report.equal('a source that is not there is a wrong command line', (await say(['route', '1', '--from', 'x', '--config', example])).code, 2);
  const hashed = await say(['hash-secret', 'pbx'], 'Circle of Life\n');
  // by md5sum over pbx:sipedge:Circle of Life
  report.check('hash-secret prints lines of a configuration', hashed.code === 0 && hashed.said.includes('inbound_ha1_md5 = "pbx:sipedge:c9e80c1e353af183fef1886bc8ebe939"') && hashed.said.match(/^inbound_ha1_/gm).length === 3, hashed.said);
  report.equal('hash-secret without a password', (await say(['hash-secret', 'a'])).code, 1);
  report.check('--version', /^sipedge \d+\.\d+\.\d+$/.test((await say(['--version'])).said.trim()));
  const help = await say(['--help']);
  report.check('--help names the commands and the exit codes', ['check-config', 'route', 'hash-secret', 'Exit codes'].every((word) => help.said.includes(word)));
  report.equal('a wrong command line', (await say(['--nonsense'])).code, 2);
}
