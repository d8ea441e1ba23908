import type { BufferDescription, ModelDescription, ParameterDescription } from '../native.js';
import { ownerOf } from '../patterns.js';
import { formatTable } from './table.js';

/**
 * The module tree of a model: type, own parameters and buffers with their shapes, number of parameters, whether they
 * learn, and the optimizer's parameter group once training is configured; then the totals.
 */
export function modelTable(description: ModelDescription): string {
  const { modules, parameters, buffers } = description;
  const parametersBy = groupByOwner(parameters);
  const buffersBy = groupByOwner(buffers);
  const rows = modules.map(({ path, type }) => {
    const own = parametersBy.get(path) ?? [];
    return [
      path === ''
        ? '(model)'
        : `${'  '.repeat(path.split('.').length)}${path.slice(path.lastIndexOf('.') + 1)}`,
      type,
      own.map(describeTensor).join(' '),
      (buffersBy.get(path) ?? []).map(describeTensor).join(' '),
      own.length === 0 ? '' : countElements(own).toLocaleString('en-US'),
      stateOf(own),
      groupsOf(own),
    ];
  });
  const table = formatTable(
    [
      { title: 'module' },
      { title: 'type' },
      { title: 'parameters' },
      { title: 'buffers' },
      { title: 'count', align: 'right' },
      { title: 'state' },
      { title: 'group' },
    ],
    rows,
  );
  return `${table}\n\n${totals(parameters, buffers)}`;
}

function totals(parameters: readonly ParameterDescription[], buffers: readonly BufferDescription[]): string {
  const trainable = parameters.filter((parameter) => parameter.trainable);
  const all = countElements(parameters);
  const learning = countElements(trainable);
  const lines = [
    ['parameters', all],
    ['trainable', learning],
    ['frozen', all - learning],
    ['values in buffers', countElements(buffers)],
  ] as const;
  return lines.map(([title, count]) => `${title}: ${count.toLocaleString('en-US')}`).join('\n');
}

/** `weight[64,3,7,7]`; the dtype follows where it is not float32. */
function describeTensor({ name, shape, dtype }: BufferDescription): string {
  return `${name.slice(name.lastIndexOf('.') + 1)}[${shape.join(',')}]${dtype === 'float32' ? '' : `:${dtype}`}`;
}

function stateOf(own: readonly ParameterDescription[]): string {
  if (own.length === 0) return '';
  if (own.every((parameter) => parameter.trainable)) return 'trainable';
  return own.some((parameter) => parameter.trainable) ? 'partly' : 'frozen';
}

function groupsOf(own: readonly ParameterDescription[]): string {
  return [...new Set(own.map((parameter) => parameter.group))].filter((group) => group >= 0).join(',');
}

function countElements(tensors: readonly { shape: number[] }[]): number {
  return tensors.reduce((total, { shape }) => total + shape.reduce((product, size) => product * size, 1), 0);
}

function groupByOwner<T extends { name: string }>(tensors: readonly T[]): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const tensor of tensors) {
    const owner = ownerOf(tensor.name);
    groups.set(owner, [...(groups.get(owner) ?? []), tensor]);
  }
  return groups;
}
