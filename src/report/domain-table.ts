import type { DomainAdaptation } from '../domain/adapt.js';
import { formatTable } from './table.js';

/** The methods of an adaptation as a table, the chosen one marked, and below it a line for each that could not be tried. */
export function domainTable({ methods, chosen, unavailable }: DomainAdaptation): string {
  const isLabelled = methods.some(({ labelled }) => labelled);
  const numbers = [
    ...(isLabelled ? ['target accuracy', 'target macro F1'] : []),
    ...[
      'source accuracy',
      'source macro F1',
      'information',
      'entropy',
      'density',
      'agreement',
      'share distance',
      's',
    ],
  ];
  const table = formatTable(
    [
      { title: '' },
      { title: 'method' },
      ...numbers.map((title) => ({ title, align: 'right' as const })),
      { title: 'against it' },
    ],
    methods.map(({ method, labelled, source, target, objection, seconds }) => [
      method === chosen ? '*' : '',
      method,
      ...(labelled ? [labelled.accuracy, labelled.macroF1].map(figure) : isLabelled ? ['', ''] : []),
      ...[source.accuracy, source.macroF1, target.information, target.entropy, target.density].map(figure),
      target.agreement.toFixed(3),
      target.shareDistance.toFixed(3),
      seconds.toFixed(1),
      objection,
    ]),
  );
  const reasons = unavailable.map(({ method, reason }) => `not tried: ${method}: ${reason}`);
  return [table, ...(reasons.length > 0 ? ['', ...reasons] : [])].join('\n');
}

function figure(value: number): string {
  return value.toFixed(4);
}
