import { distance } from 'fastest-levenshtein';
import { invalidType, invalidValue, TorchgraftError } from './errors.js';
import type { ModelDescription, ModuleDescription } from './native.js';
import { isRegExp } from './value-kinds.js';

/** A model's names, in its own order. */
export interface ModelNames {
  /** For example `features.0.conv.weight`. A tied parameter has its first name here. */
  parameters: readonly string[];
  /** For example `features.0.conv`; the root is ''. */
  modules: readonly string[];
  /** The other names of tied parameters, each with the first name. */
  tied?: ReadonlyMap<string, string>;
}

/** The names of a described model; `parameters` leaves others out. */
export function namesOf(model: Pick<ModelDescription, 'modules' | 'parameters'>): ModelNames {
  return {
    parameters: model.parameters.map(({ name }) => name),
    modules: model.modules.map(({ path }) => path),
    tied: new Map(
      model.parameters.flatMap(({ name, otherNames }) => otherNames.map((other) => [other, name] as const)),
    ),
  };
}

/**
 * The parameters that any of the patterns names, each once, in the model's order. A tied parameter goes by all of its
 * names. A pattern is
 * - a parameter's name, or a module's path for all parameters in it;
 * - a glob against both, as Python's fnmatch: `*` stands for any run of characters, dots included, `?` for one
 *   (there are no `[...]` sets);
 * - a regular expression against parameter names, found anywhere in them: a RegExp or a string `/source/flags`.
 *
 * @throws PATTERN_UNMATCHED for a pattern that matches nothing, naming up to three near names; INVALID_TYPE or
 * INVALID_VALUE for what is no pattern
 *
 * @example
 * matchNames(['fc', 'layer4.*', /bn\d\.weight$/], names);
 */
export function matchNames(patterns: readonly (string | RegExp)[], names: ModelNames): string[] {
  const tied: ReadonlyMap<string, string> = names.tied ?? new Map();
  const all = { ...names, parameters: [...names.parameters, ...tied.keys()] };
  const matched = new Set<string>();
  for (const pattern of patterns) {
    const found = matchPattern(pattern, all);
    if (found.length === 0) throw unmatched(pattern, all);
    for (const name of found) matched.add(tied.get(name) ?? name);
  }
  return names.parameters.filter((name) => matched.has(name));
}

/**
 * The model's layers in forward order, as lists of module paths. A layer is a module that owns parameters; a
 * normalisation (its type contains `Norm`) counts together with the layer before it.
 *
 * @param layers `ModelDescription.layers`, in the order forward uses them
 * @param modules `ModelDescription.modules`, for the types
 */
export function layerUnits(
  layers: readonly string[],
  modules: readonly Pick<ModuleDescription, 'path' | 'type'>[],
): string[][] {
  const types = new Map(modules.map(({ path, type }) => [path, type]));
  const units: string[][] = [];
  for (const layer of layers) {
    const last = units.at(-1);
    if (last && types.get(layer)?.includes('Norm')) last.push(layer);
    else units.push([layer]);
  }
  return units;
}

/**
 * The last k of {@link layerUnits}, as module paths.
 *
 * @throws INVALID_VALUE when k is not a whole number from 1 to the number of layers
 */
export function lastLayers(
  k: number,
  layers: readonly string[],
  modules: readonly Pick<ModuleDescription, 'path' | 'type'>[],
): string[] {
  const units = layerUnits(layers, modules);
  if (!Number.isInteger(k) || k < 1 || k > units.length) {
    throw invalidValue(
      `last:${k}: the model has ${units.length} layers (a normalisation counts with the layer before it). ` +
        `Expected a whole number from 1 to ${units.length}.`,
    );
  }
  return units.slice(-k).flat();
}

/** The parameters that these modules own themselves, alone or with others, and not those of modules inside them. */
export function ownParameters(
  modules: readonly string[],
  { parameters, tied = new Map() }: Pick<ModelNames, 'parameters' | 'tied'>,
): string[] {
  const owners = new Set(modules);
  const shared = new Set([...tied].filter(([other]) => owners.has(ownerOf(other))).map(([, first]) => first));
  return parameters.filter((name) => owners.has(ownerOf(name)) || shared.has(name));
}

/** Path of the module that owns a parameter or buffer; '' is the root. */
export function ownerOf(name: string): string {
  return name.slice(0, Math.max(0, name.lastIndexOf('.')));
}

function matchPattern(pattern: string | RegExp, { parameters, modules }: ModelNames): string[] {
  if (isRegExp(pattern)) return testNames(pattern, parameters);
  if (typeof pattern !== 'string') throw invalidType('A pattern must be a string or a RegExp.');
  if (pattern === '') throw invalidValue("A pattern is empty. Use '*' for all parameters.");
  const regex = /^\/(.+)\/([a-z]*)$/s.exec(pattern);
  if (regex) return testNames(compile(pattern, regex[1] ?? '', regex[2]), parameters);
  if (parameters.includes(pattern)) return [pattern];
  const glob = globToRegExp(pattern);
  const inside = modules.filter((path) => path !== '' && glob.test(path)).map((path) => `${path}.`);
  return parameters.filter((name) => glob.test(name) || inside.some((prefix) => name.startsWith(prefix)));
}

function testNames(regex: RegExp, names: readonly string[]): string[] {
  // With g or y a RegExp would remember where its last match ended.
  const stateless = new RegExp(regex.source, regex.flags.replace(/[gy]/g, ''));
  return names.filter((name) => stateless.test(name));
}

function globToRegExp(glob: string): RegExp {
  const source = glob
    .replace(/[.+^${}()|[\]\\/]/g, '\\$&')
    .replace(/\*+/g, '.*')
    .replace(/\?/g, '.');
  return new RegExp(`^${source}$`, 's');
}

function compile(pattern: string, source: string, flags: string | undefined): RegExp {
  try {
    return new RegExp(source, flags);
  } catch (cause) {
    throw Object.assign(
      invalidValue(`Pattern \`${pattern}\` is no regular expression: ${(cause as Error).message}.`),
      {
        cause,
      },
    );
  }
}

function unmatched(pattern: string | RegExp, names: ModelNames): TorchgraftError {
  const text = String(pattern);
  if (names.modules.includes(text)) {
    return new TorchgraftError('PATTERN_UNMATCHED', `Pattern \`${text}\`: this module has no parameters.`);
  }
  const near = nearNames(text, names);
  const hint =
    near.length > 0
      ? `Near matches: ${near.map((name) => `\`${name}\``).join(', ')}.`
      : '`torchgraft inspect` lists all names.';
  return new TorchgraftError(
    'PATTERN_UNMATCHED',
    `Pattern \`${text}\` matches no parameter and no module of the model. ${hint}`,
  );
}

/** Up to three names most like the pattern's plain characters. */
function nearNames(pattern: string, { parameters, modules }: ModelNames): string[] {
  const plain = pattern.replace(/[^\w.]/g, '');
  const limit = Math.max(2, Math.ceil(plain.length / 2));
  return [...modules, ...parameters]
    .filter((name) => name !== '')
    .map((name) => ({ name, edits: distance(plain, name) }))
    .filter(({ edits }) => edits <= limit)
    .sort((a, b) => a.edits - b.edits)
    .slice(0, 3)
    .map(({ name }) => name);
}
