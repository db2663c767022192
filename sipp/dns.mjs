// A name server for the scenarios: answers from a zone on its command line, and writes down what it was asked.
//
//   node dns.mjs ADDRESS:PORT LOG 'NAME TTL TYPE DATA'...
//
// TYPE is A, AAAA, CNAME, SRV or NAPTR, its data as in a zone file without quotes:
//   'pbx.test 60 SRV 10 5 5060 a.pbx.test'   'pbx.test 60 NAPTR 10 50 s SIP+D2T _sip._tcp.pbx.test'
// "." is the root. LOG has a line for each question, as `SRV _sip._udp.pbx.test`, with `silent` before those that came after
// SIGUSR1 and were not answered (SIGUSR1 again has it answer). What is no plain question is refused, with the line
// `wrong: WHY`: more or less than one question, records in it, another class than IN, no wish for recursion, a type that
// nobody should ask for, a name of no zone here. By UDP and TCP.
import { createSocket } from 'node:dgram';
import { appendFileSync } from 'node:fs';
import { createServer, isIPv6 } from 'node:net';

const TYPES = { A: 1, CNAME: 5, AAAA: 28, SRV: 33, NAPTR: 35, OPT: 41 };
const NAMES = Object.fromEntries(Object.entries(TYPES).map(([name, number]) => [number, name]));
const ASKABLE = ['A', 'AAAA', 'SRV', 'NAPTR'];

const [listen, log, ...lines] = process.argv.slice(2);
const at = listen?.lastIndexOf(':') ?? -1;
if (at < 0 || !log) {
  console.error("usage: dns.mjs ADDRESS:PORT LOG 'NAME TTL TYPE DATA'...");
  process.exit(2);
}
const host = listen.slice(0, at).replace(/^\[|\]$/g, '');
const port = Number(listen.slice(at + 1));
const note = (line) => appendFileSync(log, line + '\n');

const u8 = (n) => Buffer.from([n]);
const u16 = (n) => { const b = Buffer.alloc(2); b.writeUInt16BE(Number(n)); return b; };
const u32 = (n) => { const b = Buffer.alloc(4); b.writeUInt32BE(Number(n)); return b; };
const text = (t) => Buffer.concat([u8(t.length), Buffer.from(t)]);
const labels = (name) => name.replace(/\.$/, '').split('.').filter((l) => l);
const nameOf = (name) => Buffer.concat([...labels(name).map(text), u8(0)]);

function v6(address) {
  const [head, tail] = address.split('::');
  const groups = (part) => (part ? part.split(':').map((g) => parseInt(g, 16)) : []);
  const [first, last] = [groups(head), groups(tail)];
  const all = [...first, ...Array(8 - first.length - last.length).fill(0), ...last];
  return Buffer.concat(all.map(u16));
}

function data(type, d) {
  switch (type) {
    case 'A': return Buffer.from(d[0].split('.').map(Number));
    case 'AAAA': return v6(d[0]);
    case 'CNAME': return nameOf(d[0]);
    case 'SRV': return Buffer.concat([u16(d[0]), u16(d[1]), u16(d[2]), nameOf(d[3])]);
    case 'NAPTR':
      return Buffer.concat([u16(d[0]), u16(d[1]), text(d[2]), text(d[3]), text(''), nameOf(d[4])]);
    default: throw new Error(`no type ${type}`);
  }
}

const zone = lines.map((line) => {
  const [name, ttl, type, ...d] = line.trim().split(/\s+/);
  return { name: name.toLowerCase().replace(/\.$/, ''), ttl, type, data: data(type, d), to: d[0] };
});
// what this server speaks for: the last two labels of its names
const domains = new Set(zone.map(({ name }) => labels(name).slice(-2).join('.')));

function question(message) {
  if (message.length < 12) throw new Error('too short');
  const flags = message.readUInt16BE(2);
  if (flags & 0xf800) throw new Error(`no query: flags ${flags.toString(16)}`);
  if (!(flags & 0x0100)) throw new Error('no recursion desired');
  const counts = [4, 6, 8, 10].map((o) => message.readUInt16BE(o));
  if (counts[0] !== 1 || counts[1] || counts[2] || counts[3] > 1) throw new Error(`counts ${counts}`);
  let o = 12;
  const parts = [];
  for (;;) {
    const length = message[o];
    if (length === 0) break;
    if (!(length < 64) || o + length >= message.length) throw new Error('a name that cannot be read');
    parts.push(message.subarray(o + 1, o + 1 + length).toString('latin1'));
    o += length + 1;
  }
  const end = o + 5;
  const [type, cls] = [NAMES[message.readUInt16BE(o + 1)], message.readUInt16BE(o + 3)];
  if (cls !== 1) throw new Error(`class ${cls}`);
  if (!ASKABLE.includes(type)) throw new Error(`type ${message.readUInt16BE(o + 1)}`);
  if (counts[3] && (message[end] !== 0 || NAMES[message.readUInt16BE(end + 1)] !== 'OPT')) throw new Error('a record');
  return { type, name: parts.join('.').toLowerCase(), raw: message.subarray(12, end) };
}

let isSilent = false;
process.on('SIGUSR1', () => { isSilent = !isSilent; note(isSilent ? 'falls silent' : 'speaks again'); });

// The answer; none while silent.
function reply(message) {
  const header = (rcode, answers, raw) =>
    Buffer.concat([message.subarray(0, 2), u16(0x8580 | rcode), u16(raw.length ? 1 : 0), u16(answers.length), u16(0), u16(0), raw, ...answers]);
  let asked;
  try {
    asked = question(message);
    const domain = labels(asked.name).slice(-2).join('.');
    if (!domains.has(domain)) throw new Error(`${asked.type} ${asked.name} is none of ours`);
  } catch (error) {
    note(`wrong: ${error.message}`);
    return header(5, [], asked?.raw ?? Buffer.alloc(0));
  }
  note(`${isSilent ? 'silent ' : ''}${asked.type} ${asked.name}`);
  if (isSilent) return undefined;
  const record = (r) => Buffer.concat([nameOf(r.name), u16(TYPES[r.type]), u16(1), u32(r.ttl), u16(r.data.length), r.data]);
  const answers = [];
  for (let name = asked.name, turns = 0; turns < 8; turns++) {
    answers.push(...zone.filter((r) => r.name === name && r.type === asked.type));
    const alias = zone.find((r) => r.name === name && r.type === 'CNAME');
    if (!alias) break;
    answers.push(alias);
    name = alias.to.toLowerCase().replace(/\.$/, '');
  }
  const exists = answers.length > 0 || zone.some((r) => r.name === asked.name);
  return header(exists ? 0 : 3, answers.map(record), asked.raw);
}

const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4');
socket.on('message', (message, from) => {
  let answer = reply(message);
  // what is too long for a datagram is asked for again by TCP
  if (answer?.length > 512 && message.readUInt16BE(10) === 0) {
    answer = Buffer.concat([answer.subarray(0, 2), u16(0x8780), u16(1), u16(0), u32(0), question(message).raw]);
  }
  if (answer) socket.send(answer, from.port, from.address);
});
socket.bind(port, host, () => note('listens'));
createServer((stream) => {
  let held = Buffer.alloc(0);
  stream.on('error', () => {});
  stream.on('data', (bytes) => {
    held = Buffer.concat([held, bytes]);
    while (held.length >= 2 && held.length >= 2 + held.readUInt16BE(0)) {
      const length = held.readUInt16BE(0);
      const answer = reply(held.subarray(2, 2 + length));
      held = held.subarray(2 + length);
      if (answer) stream.write(Buffer.concat([u16(answer.length), answer]));
    }
  });
}).listen(port, host);
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0));
