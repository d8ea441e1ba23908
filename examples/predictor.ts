// Serves predictions over HTTP under load: batches of what arrives, 503 when too much does, another model without a pause.
//
//     node examples/predictor.ts [model.pt] [port]
//     curl --data-binary @photo.jpg http://127.0.0.1:8080/predict
//     curl http://127.0.0.1:8080/stats
//     kill -HUP <pid>     # serves what is in model.pt now
//     kill <pid>          # answers what has come in, then ends

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { createPredictor, TorchgraftError } from 'torchgraft';

const [file = 'runs/defects.pt', port = '8080'] = process.argv.slice(2);
const largestBody = 20_000_000;

const predictor = await createPredictor(file);

async function predict(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const length = Number(request.headers['content-length']);
  if (!(length > 0 && length <= largestBody)) {
    send(response, 400, {
      error: `Send one image of at most ${largestBody} bytes, with its Content-Length.`,
    });
    return;
  }
  // A client that has gone away takes its request back.
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  const { top } = await predictor.predict(await buffer(request), { top: 3, signal: gone.signal });
  send(response, 200, top);
}

const statusOf: Record<string, number> = { IMAGE_UNREADABLE: 400, QUEUE_FULL: 503, DISPOSED: 503 };

function fail(response: ServerResponse, error: unknown): void {
  if (response.destroyed) return;
  const code = error instanceof TorchgraftError ? error.code : '';
  const status = statusOf[code] ?? 500;
  if (status === 500) console.error(error);
  if (status === 503) response.setHeader('retry-after', '1');
  send(response, status, { error: status === 500 ? 'failed' : (error as Error).message });
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

const server = createServer((request, response) => {
  const route = `${request.method} ${request.url}`;
  if (route === 'GET /stats') send(response, 200, predictor.stats());
  else if (route === 'POST /predict') predict(request, response).catch((error) => fail(response, error));
  else send(response, 404, { error: 'POST /predict or GET /stats' });
});

server.listen(Number(port), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});

process.on('SIGHUP', async () => {
  try {
    await predictor.swap(file);
    console.log(`serving ${file} as it is now`);
  } catch (error) {
    console.error('still serving the old model:', error);
  }
});

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    server.close();
    await predictor.drain();
    await predictor.dispose();
    server.closeIdleConnections();
  });
}
