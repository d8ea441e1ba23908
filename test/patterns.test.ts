import t from 'tap';
import { lastLayers, matchNames, ownerOf, ownParameters } from '../src/patterns.js';

const modules = [
  '',
  'conv1',
  'bn1',
  'layer1',
  'layer1.0',
  'layer1.0.conv',
  'layer1.0.bn',
  'layer10',
  'drop',
  'fc',
];
const parameters = [
  'scale',
  'conv1.weight',
  'bn1.weight',
  'bn1.bias',
  'layer1.0.conv.weight',
  'layer1.0.bn.weight',
  'layer1.0.bn.bias',
  'layer10.weight',
  'fc.weight',
  'fc.bias',
];
const names = { parameters, modules };
const match = (...patterns: (string | RegExp)[]) => matchNames(patterns, names);

t.test('a parameter by its name, a module with all in it', (t) => {
  t.same(match('fc.bias'), ['fc.bias']);
  t.same(match('scale'), ['scale']);
  t.same(match('layer1'), ['layer1.0.conv.weight', 'layer1.0.bn.weight', 'layer1.0.bn.bias'], 'not layer10');
  t.same(match('layer1.0.bn'), ['layer1.0.bn.weight', 'layer1.0.bn.bias']);
  t.end();
});

t.test('globs: * crosses dots, ? is one character, all else is literal', (t) => {
  t.same(match('*'), parameters);
  t.same(match('*.bias'), ['bn1.bias', 'layer1.0.bn.bias', 'fc.bias']);
  t.same(match('layer1*'), parameters.slice(4, 8));
  t.same(match('layer1.*'), parameters.slice(4, 7));
  t.same(match('fc?bias'), ['fc.bias']);
  t.same(match('layer1?'), ['layer10.weight'], 'a glob matches modules too');
  t.same(match('?n1'), ['bn1.weight', 'bn1.bias']);
  t.throws(() => match('fc[.]bias'), { code: 'PATTERN_UNMATCHED' }, 'no character sets');
  t.throws(() => match('conv1+weight'), { code: 'PATTERN_UNMATCHED' });
  t.end();
});

t.test('regular expressions, as RegExp and as text', (t) => {
  t.same(match(/bn\d?\.weight$/), ['bn1.weight', 'layer1.0.bn.weight']);
  t.same(match('/bn\\d?\\.weight$/'), ['bn1.weight', 'layer1.0.bn.weight']);
  t.same(match('/^FC/i'), ['fc.weight', 'fc.bias']);
  t.same(match(/weight/g), match(/weight/), 'g does not skip every other match');
  t.same(match(/scale/y), ['scale']);
  t.throws(() => match('/(/'), { code: 'INVALID_VALUE', message: /`\/\(\/` is no regular expression/ });
  t.throws(() => match('/a/zz'), { code: 'INVALID_VALUE' });
  t.end();
});

t.test('several patterns: each name once, in the model order', (t) => {
  t.same(match('fc', 'conv1', '*.weight', /^fc/), [
    'conv1.weight',
    'bn1.weight',
    'layer1.0.conv.weight',
    'layer1.0.bn.weight',
    'layer10.weight',
    'fc.weight',
    'fc.bias',
  ]);
  t.same(matchNames([], names), []);
  t.end();
});

t.test('a pattern that matches nothing names up to three near names', (t) => {
  t.throws(() => match('fc', 'layer1.0.cnv'), {
    code: 'PATTERN_UNMATCHED',
    message: /`layer1\.0\.cnv`.*Near matches: `layer1\.0\.conv`(, `[^`]+`){0,2}\.$/,
  });
  t.throws(() => match('layer.1*'), { code: 'PATTERN_UNMATCHED', message: /Near matches: `layer1`/ });
  t.throws(() => match(/^conv$/), { code: 'PATTERN_UNMATCHED', message: /`\/\^conv\$\/`.*`conv1`/ });
  t.throws(() => match('transformer_encoder'), { code: 'PATTERN_UNMATCHED', message: /torchgraft inspect/ });
  t.throws(() => match('drop'), {
    code: 'PATTERN_UNMATCHED',
    message: /`drop`: this module has no parameters/,
  });
  t.throws(() => match(''), { code: 'INVALID_VALUE', message: /empty/ });
  t.throws(() => match(3 as never), { code: 'INVALID_TYPE' });
  t.end();
});

t.test('the last layers, a normalisation together with the layer before it', (t) => {
  const types = [
    { path: '', type: 'Net' },
    { path: 'norm0', type: 'BatchNorm2d' },
    { path: 'conv1', type: 'Conv2d' },
    { path: 'bn1', type: 'BatchNorm2d' },
    { path: 'mix', type: 'Linear' },
    { path: 'ln', type: 'LayerNorm' },
    { path: 'fc', type: 'Linear' },
  ];
  const layers = ['norm0', 'conv1', 'bn1', 'mix', 'ln', 'fc'];
  t.same(lastLayers(1, layers, types), ['fc']);
  t.same(lastLayers(2, layers, types), ['mix', 'ln', 'fc']);
  t.same(lastLayers(3, layers, types), ['conv1', 'bn1', 'mix', 'ln', 'fc']);
  t.same(lastLayers(4, layers, types), layers, 'a leading normalisation is a layer of its own');
  for (const k of [5, 0, -1, 1.5, Number.NaN]) {
    t.throws(() => lastLayers(k, layers, types), {
      name: 'RangeError',
      code: 'INVALID_VALUE',
      message: /has 4 layers/,
    });
  }
  t.end();
});

t.test('parameters that modules own themselves', (t) => {
  t.same(ownParameters(['', 'bn1', 'layer1'], names), ['scale', 'bn1.weight', 'bn1.bias']);
  t.equal(ownerOf('layer1.0.bn.bias'), 'layer1.0.bn');
  t.equal(ownerOf('scale'), '');
  t.end();
});
