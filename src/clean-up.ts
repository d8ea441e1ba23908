/**
 * Runs `work`, and then `after` however it ended. What failed first is what is thrown: an error of `after` counts only
 * where the work had none.
 */
export async function cleaningUp<T>(work: () => Promise<T>, after: () => unknown): Promise<T> {
  let result: T;
  try {
    result = await work();
  } catch (error) {
    await cleanUp(after, true);
    throw error;
  }
  await after();
  return result;
}

/** The same where the work is no function: `after`, whose error counts only where nothing has failed yet. */
export async function cleanUp(after: () => unknown, hasFailed: boolean): Promise<void> {
  try {
    await after();
  } catch (error) {
    if (!hasFailed) throw error;
  }
}
