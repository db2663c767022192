// What the program says of a configuration that cannot be used: everything at once, with file, key and remedy.
import { writeFileSync } from 'node:fs';
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
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
codec = "mp3"
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
    ['wrong codec', 'FILE: trunk.pbx.codec: no such codec; there are: PCMU, PCMA, G722, opus'],
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
  udp.close();
  tcp.close();
}
