// Answers images sent by HTTP POST with their classes, in one process. Stops on SIGINT and SIGTERM.
//
//     node examples/serve.ts [model.pt] [port]
//     curl --data-binary @photo.jpg http://127.0.0.1:8080

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { loadClassifier } from 'torchgraft';

const [file = 'runs/defects.pt', port = '8080'] = process.argv.slice(2);
const largestBody = 20_000_000;

const classifier = await loadClassifier(file);

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const length = Number(request.headers['content-length']);
  if (request.method !== 'POST' || !(length <= largestBody)) {
    response.writeHead(400).end(`POST one image of at most ${largestBody} bytes, with its Content-Length.\n`);
    return;
  }
  const [prediction] = await classifier.predict([await buffer(request)], { top: 3 });
  response.setHeader('content-type', 'application/json').end(JSON.stringify(prediction?.top));
}

const server = createServer((request, response) => {
  answer(request, response).catch((error) => {
    const isTheirs = error.code === 'IMAGE_UNREADABLE';
    if (!isTheirs) console.error(error);
    response.writeHead(isTheirs ? 400 : 500).end(isTheirs ? `${error.message}\n` : 'failed\n');
  });
});

server.listen(Number(port), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});

// Answers what has come in, then frees the model; nothing is left that would keep the process alive.
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    server.close(() => classifier.dispose());
    server.closeIdleConnections();
  });
}
