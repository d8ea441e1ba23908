import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Agent, EnvHttpProxyAgent, fetch } from 'undici';
import { messageOf } from '../errors.js';
import type { Archive } from './pin.js';

/** Longest wait for the server's first answer, then for each next piece, milliseconds. */
const answerTimeout = 8_000;
const pieceTimeout = 30_000;

/** Called with bytes done and bytes in all; `total` is 0 while unknown. */
export type OnBytes = (done: number, total: number) => void;

/** Address of the archive; TORCHGRAFT_LIBTORCH_URL replaces the folder, for a mirror. Only that one may be http. */
export function archiveUrl({ base, file }: Archive): string {
  const mirror = process.env.TORCHGRAFT_LIBTORCH_URL?.replace(/\/+$/, '');
  return `${mirror || base}/${encodeURIComponent(file)}`;
}

/**
 * Downloads an archive into `target` and checks its SHA-256 on the way. HTTPS_PROXY, HTTP_PROXY and NO_PROXY (and
 * their lower-case forms) are honoured.
 *
 * @throws Error in plain words when the server cannot be reached, refuses, or sends something else
 */
export async function downloadArchive(archive: Archive, target: string, onBytes: OnBytes): Promise<void> {
  const url = archiveUrl(archive);
  refusePlainHttp(url);
  const response = await request(url);
  refusePlainHttp(response.url);
  if (!response.ok || !response.body)
    throw new Error(`${url} answered ${response.status} ${response.statusText}`);
  const total = Number(response.headers.get('content-length') ?? 0);
  const hash = createHash('sha256');
  let done = 0;
  const meter = new Transform({
    transform(piece: Buffer, _encoding, next) {
      hash.update(piece);
      done += piece.length;
      onBytes(done, total);
      next(null, piece);
    },
  });
  await pipeline(Readable.fromWeb(response.body), meter, createWriteStream(target));
  const found = hash.digest('hex');
  if (found !== archive.sha256) {
    throw new Error(`${url} has SHA-256 ${found} where ${archive.sha256} was expected; it was thrown away`);
  }
}

function refusePlainHttp(url: string): void {
  if (process.env.TORCHGRAFT_LIBTORCH_URL || url.startsWith('https:')) return;
  throw new Error(`${url} is not HTTPS`);
}

async function request(url: string) {
  const timeouts = {
    connect: { timeout: answerTimeout },
    headersTimeout: answerTimeout,
    bodyTimeout: pieceTimeout,
  };
  const behindProxy = ['http_proxy', 'https_proxy'].some(
    (name) => process.env[name] || process.env[name.toUpperCase()],
  );
  const answered = new AbortController();
  const timer = setTimeout(
    () => answered.abort(new Error(`no answer within ${answerTimeout / 1000} s`)),
    answerTimeout,
  );
  try {
    const dispatcher = behindProxy ? new EnvHttpProxyAgent(timeouts) : new Agent(timeouts);
    return await fetch(url, { dispatcher, signal: answered.signal });
  } catch (error) {
    throw new Error(`${new URL(url).host} cannot be reached (${rootCause(error)})`, { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

/** undici says `fetch failed` and keeps the reason in `cause`. */
function rootCause(error: unknown): string {
  let current = error;
  for (let below = causeOf(current); below; below = causeOf(current)) current = below;
  return messageOf(current) || (current as Error).name;
}

function causeOf(error: unknown): unknown {
  return (error as { cause?: unknown } | undefined)?.cause;
}
