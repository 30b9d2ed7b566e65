// An HTTP server: `node node_http.js PORT`. POST gives the body back, GET /N a body of N bytes. Ends at SIGTERM.
const http = require('http');

const server = http.createServer((request, response) => {
  if (request.method === 'POST') {
    request.pipe(response);
  } else {
    response.end(Buffer.alloc(Number(request.url.slice(1)), 'x'));
  }
});
server.listen(Number(process.argv[2]), '127.0.0.1');
process.on('SIGTERM', () => { server.close(); server.closeAllConnections?.(); });
