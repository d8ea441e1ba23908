import t from 'tap';
import { cleaningUp } from '../src/clean-up.js';

const fails = (message: string) => () => Promise.reject(new Error(message));

t.test('what failed first is thrown, and the cleaning up is done in any case', async (t) => {
  const done: string[] = [];
  const after = (name: string) => () => done.push(name);
  t.equal(await cleaningUp(() => Promise.resolve(7), after('worked')), 7);
  await t.rejects(cleaningUp(fails('first'), after('failed')), { message: 'first' });
  await t.rejects(cleaningUp(fails('first'), fails('second')), { message: 'first' });
  await t.rejects(
    cleaningUp(() => Promise.resolve(7), fails('second')),
    { message: 'second' },
  );
  t.same(done, ['worked', 'failed']);
});
