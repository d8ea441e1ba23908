// Prints `N passed, N failed[, N skipped]` from the TAP that tap wrote. Arguments: report, exit status of npm test.
import { existsSync, readFileSync } from 'node:fs';

const [report, status] = process.argv.slice(2);
const text = existsSync(report) ? readFileSync(report, 'utf8') : '';
// tap's own count of all assertions at any depth, at the end: # { total: 13, pass: 12, fail: 1, skip: 2 }
const summary = text.match(/^# \{ total: .*\}$/gm)?.at(-1) ?? '';
const count = (name) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(summary)?.[1] ?? 0);

// A file that crashed or ran too long fails without a failed assertion: tap's count leaves it out.
const files = text.split(/^# Subtest: /m).slice(1);
const crashed = files.filter((file) => /^not ok /m.test(file) && !/^ +not ok /m.test(file)).length;
const failed = count('fail') + crashed;
const skipped = count('skip') + count('todo');
// With nothing failed in the tests, npm test failed before them (set-up, lint, types): that is counted as one.
const before = status !== '0' && failed === 0 ? 1 : 0;
// tap may have left the cursor in a line of its own making.
console.log(`\n${count('pass')} passed, ${failed + before} failed${skipped ? `, ${skipped} skipped` : ''}`);
