// `node node_net.js serve PORT` echoes; `node node_net.js ask PORT` sends what an echo has to give back, in small pieces
// one after the other, then 8 MB at once, and half-closes.
const net = require('net');
const crypto = require('crypto');

const [, , role, port] = process.argv;

function serve() {
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.setNoDelay(true);
    socket.pipe(socket);
    socket.on('error', () => {});
  });
  server.listen(Number(port), '127.0.0.1');
  process.on('SIGTERM', () => process.exit(0));
}

function ask() {
  const socket = net.connect({ port: Number(port), host: '127.0.0.1', allowHalfOpen: true });
  const big = crypto.randomBytes(8 << 20);
  let [rounds, echoed] = [0, 0];
  const hash = crypto.createHash('sha256');
  socket.setNoDelay(true);
  socket.on('connect', () => socket.write('a'.repeat(64)));
  socket.on('data', (data) => {
    if (rounds < 500) {
      echoed += data.length;
      if (echoed === 64) {
        echoed = 0;
        rounds += 1;
        socket.write(rounds < 500 ? 'a'.repeat(64) : big);
        if (rounds === 500) socket.end();
      }
    } else {
      hash.update(data);
    }
  });
  socket.on('end', () => {
    const right = hash.digest('hex') === crypto.createHash('sha256').update(big).digest('hex');
    console.log(right ? 'all came back' : 'not what was sent');
    process.exit(right ? 0 : 1);
  });
  socket.on('error', (error) => { console.log(String(error)); process.exit(1); });
}

if (role === 'serve') serve(); else ask();
