import type { DataAudit } from '../audit/data-audit.js';
import { drawFile } from './pictures.js';

/** As many as a reader looks at. */
const mostPairs = 6;
const mostLabels = 12;

/** What a report shows of an audit. */
export function shownOf({ duplicates, labels }: DataAudit) {
  return { pairs: duplicates.pairs.slice(0, mostPairs), issues: (labels?.issues ?? []).slice(0, mostLabels) };
}

/** Pictures of what a report shows of an audit, data: URIs by path. */
export async function drawDoubted(audit: DataAudit | undefined): Promise<Record<string, string>> {
  const { pairs, issues } = audit ? shownOf(audit) : { pairs: [], issues: [] };
  const paths = [
    ...pairs.flatMap(({ first, second }) => [first.path, second.path]),
    ...issues.map(({ path }) => path),
  ];
  const drawn: Record<string, string> = {};
  for (const path of paths) {
    const picture = await drawFile(path);
    if (picture) drawn[path] = picture;
  }
  return drawn;
}
