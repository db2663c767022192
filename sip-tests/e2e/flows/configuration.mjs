// What the program says of a configuration that cannot be used: everything at once, with file, key and remedy.
import { writeFileSync } from 'node:fs';
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import path from 'node:path';
import { connect as connectTls } from 'node:tls';
import { X509Certificate } from 'node:crypto';
import { Child, until } from '../lib/process.mjs';

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
    ['wrong variable', 'environment variable SIPEDGE_ICE__LOOPBACK: ice.loopback: write true or false, not "perhaps"'],
  ]) {
    report.check(`names the ${what}`, wrong.said.includes(text), wrong.said.includes(text) ? '' : wrong.said);
  }
  report.check('shows no secret', !wrong.said.includes('"short"'), '');

  const missing = new Child(binary, ['--config', '/nonexistent/sipedge.toml']);
  report.equal('exit code of a missing file', (await missing.exited).code, 78);
  report.check('names the missing file', missing.output.includes('/nonexistent/sipedge.toml: cannot be read: No such file or directory'), missing.output.trim());

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
  const say = async (args, input = '', env = {}) => {
    const child = spawn(binary, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...env } });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (said += text));
    child.stdin.on('error', () => {}).end(input); // a program that reads nothing has ended before
    const [code] = await once(child, 'close');
    return { code, said };
  };
  const example = fileURLToPath(new URL('../../../config/sipedge.toml', import.meta.url));
  const good = await say(['check-config', '--config', example]);
  report.check('check-config of the example', good.code === 0 && good.said.trim().endsWith(`${example}: valid`), good.said);
  const known = ['account.demo.token', 'trunk.pbx.inbound_password', 'trunk.pbx.password'];
  report.check('it notes the secrets that everybody knows', known.every((key) => good.said.includes(`${example}: note: ${key}: this is the text of the example`)), good.said);
  const open = await say(['check-config', '--config', example], '', { SIPEDGE_HTTP__LISTEN: '0.0.0.0:21391' });
  report.check('and refuses them where others can use them', open.code === 78 && open.said.startsWith(`sipedge: ${example}: account.demo.token: `) && open.said.trim().split('\n').length === 1, open.said);
  const bad = path.join(out, 'wrong.toml');
  writeFileSync(bad, '[http]\nlisen = 1\n[route]\n');
  const hides = path.join(out, 'hides.toml');
  // in each table a key that is unknown or of a wrong type, and beside it a value that is wrong
  writeFileSync(hides, '[http]\nlisten = "127.0.0.1"\npgae = true\n[log]\nformat = "xml"\ncolour = true\n[trunk.pbx]\npasword = "x"\ntransport = "sctp"\n[account.a]\ntoken = "short"\nmax_calls = "4"\n[media]\nworkers = 0\ntimeout = 30\n');
  const all = await say(['check-config', '--config', hides]);
  const keys = all.said.split('\n').filter(Boolean).map((line) => line.replace(`sipedge: ${hides}: `, '').split(':')[0]);
  report.equal('nothing hides behind an unknown key or a wrong type', keys.join(' '), 'account.a.max_calls account.a.token http.listen http.pgae log.colour log.format media.timeout media.workers trunk.pbx.host trunk.pbx.pasword trunk.pbx.transport');
  // ---- a folder that nothing can be written to, and ports that are too few
  const readOnly = path.join(out, 'read-only.toml');
  writeFileSync(readOnly, '[state]\ndirectory = "/sys"\n');
  for (const args of [['check-config'], []]) {
    const { code, said } = await say([...args, '--config', readOnly]);
    const names = said.includes(`${readOnly}: state.directory: nothing can be written to /sys: `) && said.includes('make it a folder');
    report.check(`a state directory that cannot be written stops ${args[0] ?? 'the start'}`, code === 78 && names, said);
  }
  const twice = path.join(out, 'twice.toml');
  writeFileSync(twice, '[http]\nlisten = "127.0.0.1:25091"\n[sip]\nlisten = ["0.0.0.0:25091"]\n[trunk.a]\nhost = "[2001:db8::1]"\n[trunk.b]\nhost = "127.0.0.1:25091"\n');
  for (const args of [['check-config'], []]) {
    const { code, said } = await say([...args, '--config', twice]);
    const told = ['http.listen: TCP port 25091 is sip.listen\'s as well', 'trunk.a.host: 2001:db8::1 is an IPv6 address, and sip.listen has none', 'trunk.b.host: 127.0.0.1:25091 is sipedge itself'];
    report.check(`what can never work stops ${args[0] ?? 'the start'}`, code === 78 && told.every((text) => said.includes(text)) && said.trim().split('\n').length === 3, said);
  }
  const narrow = path.join(out, 'narrow.toml');
  writeFileSync(narrow, `${base(25091, 21391)}[trunk.pbx]\nhost = "127.0.0.1:25092"\nqualify = "off"\n`.replace('[ice]', 'workers = 1\nrtp_ports = "27952-27999"\n[ice]'));
  const shortage = /media\.rtp_ports = "27952-27999" has 24 pairs of ports, and the 2000 calls of media\.calls need 4000 .*8000 ports, or media\.calls = 12/;
  const noted = await say(['check-config', '--config', narrow]);
  report.check('too few ports are a note of check-config', noted.code === 0 && shortage.test(noted.said) && noted.said.includes(`${narrow}: valid`), noted.said);
  const tight = new Child(binary, ['--config', narrow]);
  await tight.says('sipedge is ready');
  await tight.stop();
  const told = tight.output.split('\n').filter((line) => shortage.test(line));
  report.check('and a warning at the start', told.length === 1 && told[0].includes('WARN'), told.join());
  const words = /invalid type|expected (usize|u16|a sequence)|untagged|missing field|TOML parse/;
  report.check('no message is a parser\'s', !words.test(all.said + wrong.said), all.said);
  writeFileSync(bad, '[log]\n\n[http]\nlisten = 127.0.0.1:1337\n');
  const syntax = await say(['check-config', '--config', bad]);
  report.check('a syntax error has its line and column', syntax.code === 78 && syntax.said.startsWith(`sipedge: ${bad}: line 4, column 15: `) && syntax.said.trim().split('\n').length === 1, syntax.said);
  for (const level of ['verbose', 'inf', '']) {
    writeFileSync(bad, `[log]\nlevel = "${level}"\n`);
    const { code, said } = await say(['check-config', '--config', bad]);
    report.check(`log.level "${level}" is refused`, code === 78 && said.includes('log.level: ') && said.includes('off, error, warn, info, debug, trace'), said);
  }
  for (const [variable, key] of [['SIPEDGE_HTP__LISTEN', 'htp'], ['SIPEDGE_HTTP', 'http'], ['SIPEDGE_ROUTE__0__TO', 'route']]) {
    const { code, said } = await say(['check-config', '--config', example], '', { [variable]: 'x' });
    report.check(`${variable} is blamed itself`, code === 78 && said.startsWith(`sipedge: environment variable ${variable}: ${key}`), said);
  }
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
  for (const user of ['a:b', '']) report.equal(`hash-secret refuses the user "${user}"`, (await say(['hash-secret', user], 'x')).code, 2);
  for (const address of ['bad host', 'host:0', '[::1']) report.equal(`config refuses the address "${address}"`, (await say(['config', 'asterisk', '--config', example, '--address', address])).code, 2);
  const separated = await say(['route', '6 0-0', '--from', 'demo', '--config', example]);
  report.check('route reads a number as the API does', separated.code === 0 && separated.said.includes('600 is looked up'), separated.said);

  // ---- standard output that nobody reads, or that is full
  const own = { SIPEDGE_ACCOUNT__DEMO__TOKEN: '0123456789abcdef', SIPEDGE_TRUNK__PBX__PASSWORD: 'of-its-own', SIPEDGE_TRUNK__PBX__INBOUND_PASSWORD: 'of-its-own' };
  const shell = async (line) => {
    const child = spawn('bash', ['-o', 'pipefail', '-c', line, 'sh', binary, example], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...own } });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (said += text));
    const [code] = await once(child, 'close');
    return { code, said };
  };
  for (const command of ['check-config --config "$2"', 'route 600 --from demo --config "$2"', 'config asterisk --config "$2"', 'hash-secret a <<<password', '--help']) {
    const [what] = command.split(' ');
    // the reader has gone before the first byte is written
    const gone = await shell(`exec 3> >(:); wait $!; "$1" ${command} >&3`);
    report.equal(`${what} to a reader that has gone ends quietly`, `${gone.code} ${gone.said}`, '0 ');
    const full = await shell(`"$1" ${command} >/dev/full`);
    report.equal(`${what} to a full disk says so`, `${full.code} ${full.said.trim()}`, '1 sipedge: cannot write to standard output: No space left on device (os error 28)');
  }
  const env = { ...process.env, SIPEDGE_HTTP__LISTEN: '127.0.0.1:21393' };
  const deaf = spawn(binary, ['--lan'], { stdio: ['ignore', 'pipe', 'pipe'], env });
  for (const stream of [deaf.stdout, deaf.stderr]) stream.destroy();
  const ended = once(deaf, 'exit');
  const is = async (url) => (await fetch(url).catch(() => null))?.status;
  await until('the demo whose output is closed serves', async () => deaf.exitCode !== null || (await is('http://127.0.0.1:21393/')) === 200);
  report.equal('the server goes on without anybody who reads its output', deaf.exitCode, null);

  // ---- the certificate of --lan
  const socket = connectTls({ host: '127.0.0.1', port: 1338, rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  const certificate = new X509Certificate(socket.getPeerX509Certificate().raw);
  socket.destroy();
  const days = (Date.parse(certificate.validTo) - Date.parse(certificate.validFrom)) / 86_400_000;
  report.check('the demo\'s certificate has a subject and a life of 397 days at most', certificate.subject === 'CN=sipedge demo' && days > 300 && days <= 397, `${certificate.subject}, ${days} days`);
  report.check('it is for localhost and the addresses', certificate.checkHost('localhost') === 'localhost' && certificate.checkIP('127.0.0.1') === '127.0.0.1', certificate.subjectAltName);
  report.check('it is for servers', certificate.keyUsage?.includes('1.3.6.1.5.5.7.3.1'), String(certificate.keyUsage));
  const plain = await fetch('http://127.0.0.1:1338/');
  report.check('HTTP where HTTPS is spoken is told so', plain.status === 400 && (await plain.text()).includes('https://'), String(plain.status));
  deaf.kill('SIGTERM');
  report.equal('and ends on request', (await ended)[0], 0);

  // ---- descriptors, and the log as JSON
  const few = path.join(out, 'few.toml');
  writeFileSync(few, `${base(25091, 21391)}workers = 1\n[log]\nformat = "json"\n`.replace('[ice]\nloopback = true\nworkers = 1', 'workers = 1\n[ice]\nloopback = true'));
  const poor = new Child('sh', ['-c', 'ulimit -n 64; exec "$1" --config "$2"', 'sh', binary, few]);
  await poor.says('sipedge is ready');
  await poor.stop();
  const lines = poor.output.trim().split('\n').map((line) => JSON.parse(line));
  const warned = lines.filter((line) => line.message.includes('descriptor limit'));
  report.check('too few descriptors are told once at the start', warned.length === 1 && warned[0].level === 'WARN' && warned[0].limit === 64 && warned[0].needed > 8_000, JSON.stringify(warned));
  const ready = lines.find((line) => line.message === 'sipedge is ready');
  report.check('lists are lists in JSON', Array.isArray(ready.http) && ready.http[0] === '127.0.0.1:21391', JSON.stringify(ready));
  report.equal('hash-secret without a password', (await say(['hash-secret', 'a'])).code, 1);
  report.check('--version', /^sipedge \d+\.\d+\.\d+$/.test((await say(['--version'])).said.trim()));
  const help = await say(['--help']);
  report.check('--help names the commands and the exit codes', ['check-config', 'route', 'hash-secret', 'Exit codes', 'Connect web browsers to a SIP PBX'].every((word) => help.said.includes(word)));
  report.equal('a wrong command line', (await say(['--nonsense'])).code, 2);
  report.equal('--lan beside a configuration is one, too', (await say(['--lan', '--config', example])).code, 2);
}
