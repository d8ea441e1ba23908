import type { ImageRequest } from './request.js';

interface Watched {
  requests: Set<ImageRequest>;
  listener: () => void;
}

/**
 * Requests by their AbortSignal, with one listener for each signal: a thousand requests may share one, and a signal
 * that outlives its requests keeps none of them.
 */
export class Withdrawals {
  readonly #withdraw: (requests: ImageRequest[], signal: AbortSignal) => void;
  readonly #watched = new Map<AbortSignal, Watched>();

  /** @param withdraw called with the open requests of a signal when it fires */
  constructor(withdraw: (requests: ImageRequest[], signal: AbortSignal) => void) {
    this.#withdraw = withdraw;
  }

  watch(request: ImageRequest): void {
    const { signal } = request;
    if (!signal) return;
    const watched = this.#watched.get(signal) ?? this.#listen(signal);
    watched.requests.add(request);
  }

  forget(request: ImageRequest): void {
    const { signal } = request;
    const watched = signal && this.#watched.get(signal);
    if (!watched) return;
    watched.requests.delete(request);
    if (watched.requests.size > 0) return;
    signal.removeEventListener('abort', watched.listener);
    this.#watched.delete(signal);
  }

  #listen(signal: AbortSignal): Watched {
    const requests = new Set<ImageRequest>();
    const listener = () => this.#withdraw([...requests], signal);
    signal.addEventListener('abort', listener, { once: true });
    const watched = { requests, listener };
    this.#watched.set(signal, watched);
    return watched;
  }
}
