// Listens on UDP ports and writes down what media comes there: a line `PORT PAYLOAD-TYPE` each time that one of the two is
// another than before, once three packets in a row have said so.
//
//   node rtp.mjs LOG ADDRESS PORT...
import { createSocket } from 'node:dgram';
import { appendFileSync } from 'node:fs';

const [log, address, ...ports] = process.argv.slice(2);
const write = line => appendFileSync(log, `${line}\n`);
let last = '', candidate = '', times = 0;
const hear = line => {
  times = line === candidate ? times + 1 : 1;
  candidate = line;
  if (times >= 3 && line !== last) {
    last = line;
    write(line);
  }
};
const isRtp = packet => packet.length >= 12 && packet[0] >> 6 === 2 && (packet[1] < 192 || packet[1] > 223);
const bound = ports.map(port => new Promise(done => {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  socket.on('message', packet => { if (isRtp(packet)) hear(`${port} ${packet[1] & 127}`); });
  socket.bind(Number(port), address, done);
}));
Promise.all(bound).then(() => write('listens'));
