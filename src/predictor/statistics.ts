import { createHistogram } from 'node:perf_hooks';
import type { ImageRequest } from './request.js';

/** Milliseconds, within 1 %; all 0 when nothing was counted. */
export interface LatencySummary {
  count: number;
  mean: number;
  p50: number;
  p90: number;
  p99: number;
  max: number;
}

/** How the requests of a predictor came out, since it was made. */
export interface RequestCounts {
  /** Images asked about: the sum of the five below and of those that wait or are computed now. */
  requests: number;
  served: number;
  /** Images that cannot be decoded, and images of a batch that failed. */
  failed: number;
  /** Withdrawn by their signal. */
  aborted: number;
  /** Refused because the queue was full or the predictor closed. */
  rejected: number;
}

export type Outcome = Exclude<keyof RequestCounts, 'requests'>;

/** Where the time of served requests goes. */
export interface Latencies {
  /** Waiting: for a decoder, and decoded for the model. */
  queue: LatencySummary;
  /** Reading, decoding, resizing. */
  decode: LatencySummary;
  /** The forward of the batch, and ranking. */
  compute: LatencySummary;
  /** From the call to the answer. */
  total: LatencySummary;
}

/** HdrHistogram over microseconds, 1 us to 1 hour. */
class LatencyHistogram {
  readonly #histogram = createHistogram({ lowest: 1, highest: 3_600_000_000, figures: 2 });

  record(ms: number): void {
    this.#histogram.record(Math.max(1, Math.round(ms * 1000)));
  }

  summary(): LatencySummary {
    const { count, mean, max } = this.#histogram;
    if (count === 0) return { count, mean: 0, p50: 0, p90: 0, p99: 0, max: 0 };
    const percentile = (share: number) => this.#histogram.percentile(share) / 1000;
    return {
      count,
      mean: mean / 1000,
      p50: percentile(50),
      p90: percentile(90),
      p99: percentile(99),
      max: max / 1000,
    };
  }
}

/** Events a second over the last ten seconds, or since the start. */
class Rate {
  readonly #began = performance.now();
  readonly #seconds = new Float64Array(10).fill(-1);
  readonly #counts = new Float64Array(10);

  record(): void {
    const second = Math.floor((performance.now() - this.#began) / 1000);
    const at = second % 10;
    if (this.#seconds[at] !== second) this.#counts[at] = 0;
    this.#seconds[at] = second;
    (this.#counts[at] as number)++;
  }

  perSecond(): number {
    const age = (performance.now() - this.#began) / 1000;
    const first = Math.max(0, Math.floor(age) - 9);
    const count = this.#counts.reduce(
      (sum, n, at) => (Number(this.#seconds[at]) >= first ? sum + n : sum),
      0,
    );
    return count / Math.max(age - first, 0.001);
  }
}

/** Counters and histograms of one predictor. */
export class Statistics {
  readonly counts: RequestCounts = { requests: 0, served: 0, failed: 0, aborted: 0, rejected: 0 };
  batches = 0;
  readonly #batchSizes = new Map<number, number>();
  readonly #rate = new Rate();
  readonly #latencies = {
    queue: new LatencyHistogram(),
    decode: new LatencyHistogram(),
    compute: new LatencyHistogram(),
    total: new LatencyHistogram(),
  };

  batch(size: number): void {
    this.batches++;
    this.#batchSizes.set(size, (this.#batchSizes.get(size) ?? 0) + 1);
  }

  settled(outcome: Outcome, { askedAt, decodingAt, decodedAt, computingAt }: ImageRequest): void {
    this.counts[outcome]++;
    if (outcome !== 'served') return;
    const now = performance.now();
    this.#rate.record();
    this.#latencies.queue.record(decodingAt - askedAt + computingAt - decodedAt);
    this.#latencies.decode.record(decodedAt - decodingAt);
    this.#latencies.compute.record(now - computingAt);
    this.#latencies.total.record(now - askedAt);
  }

  get imagesPerSecond(): number {
    return this.#rate.perSecond();
  }

  /** Number of batches by their size, smallest first. */
  batchSizes(): Record<string, number> {
    return Object.fromEntries([...this.#batchSizes].sort(([a], [b]) => a - b));
  }

  latencyMs(): Latencies {
    const { queue, decode, compute, total } = this.#latencies;
    return {
      queue: queue.summary(),
      decode: decode.summary(),
      compute: compute.summary(),
      total: total.summary(),
    };
  }
}
