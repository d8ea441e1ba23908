/** Runs what it is given, first come first served, at most `width` at a time. */
export type Gate = <T>(work: () => Promise<T>) => Promise<T>;

/** Opens a gate that lets `width` pieces of asynchronous work run at a time. */
export function openGate(width: number): Gate {
  const waiting: (() => void)[] = [];
  let running = 0;
  return async (work) => {
    // The one that leaves hands its place over, so `running` does not change between the two.
    if (running < width) running++;
    else await new Promise<void>((enter) => waiting.push(enter));
    try {
      return await work();
    } finally {
      const enter = waiting.shift();
      if (enter) enter();
      else running--;
    }
  };
}
