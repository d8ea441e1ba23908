import t from 'tap';
import { EarlyStopping, type EarlyStoppingOptions, parseEarlyStopping } from '../src/early-stopping.js';
import { metricNames } from '../src/metrics/names.js';

const known = ['trainLoss', 'trainAccuracy', ...metricNames('val', ['ants', 'bees', '3'])];

function run(options: EarlyStoppingOptions, values: (number | null)[]) {
  const stopping = new EarlyStopping(options, known);
  const results = values.map((value, epoch) => stopping.update(epoch, { [options.metric]: value }));
  return {
    best: stopping.best,
    bests: results.flatMap(({ best }, epoch) => (best ? [epoch] : [])),
    stops: results.findIndex(({ stop }) => stop),
  };
}

t.test('losses are minimised, all else maximised, unless said otherwise', (t) => {
  t.same(run({ metric: 'valLoss' }, [3, 2, 2, 1, 4]).best, { epoch: 3, value: 1 });
  t.same(run({ metric: 'valMacroF1' }, [0.1, 0.3, 0.2]).best, { epoch: 1, value: 0.3 });
  t.same(run({ metric: 'valF1:ants', mode: 'min' }, [0.1, 0.3, 0.05]).best, { epoch: 2, value: 0.05 });
  t.end();
});

t.test('the model before the first step can be the best', (t) => {
  const { best, bests, stops } = run({ metric: 'valAccuracy', patience: 2 }, [0.9, 0.5, 0.6, 0.7]);
  t.same(best, { epoch: 0, value: 0.9 });
  t.same(bests, [0]);
  t.equal(stops, 2, 'epochs 1 and 2 were no improvement');
  t.end();
});

t.test('training stops after `patience` epochs without improvement, and never without `patience`', (t) => {
  const values = [5, 4, 4, 3, 3, 3, 2];
  t.equal(run({ metric: 'valLoss', patience: 1 }, values).stops, 2);
  t.equal(run({ metric: 'valLoss', patience: 2 }, values).stops, 5);
  t.equal(run({ metric: 'valLoss', patience: 3 }, values).stops, -1);
  t.equal(run({ metric: 'valLoss' }, Array(50).fill(1)).stops, -1);
  t.end();
});

t.test('minDelta governs patience; the best is the best all the same', (t) => {
  const { bests, stops } = run({ metric: 'valLoss', patience: 3, minDelta: 0.25 }, [2, 1.9, 1.8, 1.76]);
  t.same(bests, [0, 1, 2, 3]);
  t.equal(stops, 3);
  t.equal(
    run({ metric: 'valLoss', patience: 3, minDelta: 0.25 }, [2, 1.9, 1.8, 1.7]).stops,
    -1,
    'slow but steady',
  );
  t.equal(
    run({ metric: 'valLoss', patience: 1, minDelta: 0.5 }, [2, 1.5]).stops,
    1,
    'exactly minDelta is not more',
  );
  t.end();
});

t.test('of equal values the lowest validation loss counts, then the last', (t) => {
  const best = (options: EarlyStoppingOptions, reports: { value: number; valLoss?: number | null }[]) => {
    const stopping = new EarlyStopping(options, known);
    for (const [epoch, { value, ...rest }] of reports.entries()) {
      stopping.update(epoch, { ...rest, [options.metric]: value });
    }
    return stopping.best?.epoch;
  };
  const losses = (...all: (number | null)[]) => all.map((valLoss) => ({ value: 1, valLoss }));
  const metric = 'valMacroF1';
  t.equal(best({ metric }, losses(2, 0.5, 0.06, 0.4)), 2);
  t.equal(best({ metric }, losses(2, 0.06, 0.06)), 2, 'the last of those');
  t.equal(
    best({ metric }, losses(Number.NaN, 0.06, null, Number.POSITIVE_INFINITY)),
    1,
    'a loss that is known',
  );
  t.equal(best({ metric }, losses(null, null)), 1);
  t.equal(best({ metric }, [{ value: 1 }, { value: 1 }]), 1, 'reports without it');
  t.equal(
    best({ metric }, [
      { value: 0.9, valLoss: 0.1 },
      { value: 1, valLoss: 5 },
    ]),
    1,
    'a better value counts, whatever the loss',
  );
  t.equal(
    best({ metric: 'valEce' }, [
      { value: 0, valLoss: 1 },
      { value: 0, valLoss: 0.5 },
    ]),
    1,
  );
  t.equal(best({ metric: 'valLoss' }, [{ value: 1 }, { value: 1 }, { value: 2 }]), 1);
  t.end();
});

t.test('a tie is no improvement for `patience`, however it is broken', (t) => {
  const stopping = new EarlyStopping({ metric: 'valMacroF1', patience: 2 }, known);
  const updates = [3, 2, 1].map((valLoss, epoch) => stopping.update(epoch, { valMacroF1: 1, valLoss }));
  t.same(
    updates,
    [false, false, true].map((stop) => ({ best: true, stop })),
  );
  t.end();
});

t.test('NaN and infinities are never better', (t) => {
  t.same(run({ metric: 'valLoss' }, [Number.NaN, 2, Number.NaN, Number.NEGATIVE_INFINITY]).best, {
    epoch: 1,
    value: 2,
  });
  t.same(run({ metric: 'valAccuracy' }, [Number.NaN, Number.POSITIVE_INFINITY]).best, null);
  t.equal(run({ metric: 'valLoss', patience: 2 }, [Number.NaN, Number.NaN, Number.NaN]).stops, 2);
  t.end();
});

t.test('errors of calibration are minimised; areas are maximised, and never better while undefined', (t) => {
  for (const metric of ['valEce', 'valMce', 'valBrier', 'valNll']) {
    t.same(run({ metric }, [0.3, 0.1, 0.2]).best, { epoch: 1, value: 0.1 }, metric);
  }
  for (const metric of ['valMcc', 'valKappa', 'valBalancedAccuracy', 'valRocAuc', 'valPrAuc:ants']) {
    t.same(run({ metric }, [0.3, 0.1, 0.5]).best, { epoch: 2, value: 0.5 }, metric);
  }
  t.same(run({ metric: 'valKappa' }, [null, -0.5, null]).best, { epoch: 1, value: -0.5 });
  t.same(run({ metric: 'valEce' }, [null, 0.5, null]).best, { epoch: 1, value: 0.5 });
  t.same(run({ metric: 'valRocAuc:bees', patience: 2 }, [null, null, null]), {
    best: null,
    bests: [],
    stops: 2,
  });
  t.end();
});

t.test('state through JSON continues exactly', (t) => {
  const options = { metric: 'valLoss', patience: 4, minDelta: 0.01 };
  const values = [1, 0.9, 0.1 + 0.2, 0.3, Number.NaN, 0.299, 0.298, 0.297];
  const whole = new EarlyStopping(options, known);
  let resumed = new EarlyStopping(options, known);
  for (const [epoch, valLoss] of values.entries()) {
    const saved = JSON.stringify(resumed);
    resumed = new EarlyStopping(options, known);
    resumed.restore(JSON.parse(saved));
    t.same(resumed.update(epoch, { valLoss }), whole.update(epoch, { valLoss }), `epoch ${epoch}`);
    t.same(resumed.toJSON(), whole.toJSON());
  }
  const tied = new EarlyStopping({ metric: 'valMacroF1' }, known);
  tied.update(0, { valMacroF1: 1, valLoss: 0.5 });
  const again = new EarlyStopping({ metric: 'valMacroF1' }, known);
  again.restore(JSON.parse(JSON.stringify(tied)));
  t.notOk(again.update(1, { valMacroF1: 1, valLoss: 0.6 }).best, 'the loss of the best epoch is kept too');
  t.ok(whole.update(values.length, { valLoss: 1 }).stop);
  const other = new EarlyStopping({ metric: 'valAccuracy' }, known);
  t.throws(() => other.restore(whole.toJSON()), {
    code: 'CHECKPOINT_INVALID',
    message: /`valLoss`.*`valAccuracy`/,
  });
  t.throws(() => other.restore({ metric: 'valAccuracy' }), { code: 'CHECKPOINT_INVALID' });
  t.throws(() => other.restore(null), { code: 'CHECKPOINT_INVALID' });
  t.end();
});

t.test('unknown metrics and wrong options are refused, naming the nearest', (t) => {
  const make = (options: unknown) => () => new EarlyStopping(options as EarlyStoppingOptions, known);
  t.throws(make({ metric: 'valLos' }), {
    code: 'INVALID_VALUE',
    message: /`valLos`.*Did you mean `valLoss`/,
  });
  t.throws(make({ metric: 'valF1:ant' }), { message: /Did you mean `valF1:ants`/ });
  t.throws(make({ metric: 'perplexity!' }), { message: /Known: trainLoss/ });
  t.throws(make({ metric: 'valLoss', patience: 0 }), { code: 'INVALID_VALUE' });
  t.throws(make({ metric: 'valLoss', minDelta: -1 }), { code: 'INVALID_VALUE' });
  t.throws(make({ metric: 'valLoss', pateince: 1 }), { code: 'INVALID_TYPE', message: /`patience`/ });
  t.throws(make({}), { code: 'INVALID_TYPE' });
  const stopping = new EarlyStopping({ metric: 'valLoss' }, known);
  t.throws(() => stopping.update(0, { trainLoss: 1 }), { code: 'INVALID_VALUE', message: /`valLoss`/ });
  t.end();
});

t.test('strings of the command line', (t) => {
  const parse = (text: string) => parseEarlyStopping(text, 'train');
  t.same(parse('valLoss:5'), { metric: 'valLoss', patience: 5 });
  t.same(parse('valMacroF1:3:0.001'), { metric: 'valMacroF1', patience: 3, minDelta: 0.001 });
  t.same(parse('valMacroF1:3:1'), { metric: 'valMacroF1', patience: 3, minDelta: 1 });
  t.same(parse('valLoss:3:1e-3'), { metric: 'valLoss', patience: 3, minDelta: 0.001 });
  t.same(parse('valF1:ants:4'), { metric: 'valF1:ants', patience: 4 });
  t.same(parse('valF1:3:4'), { metric: 'valF1:3', patience: 4 });
  t.same(parse('valRecall:3:4:.5'), { metric: 'valRecall:3', patience: 4, minDelta: 0.5 });
  t.same(parse('valRocAuc:5'), { metric: 'valRocAuc', patience: 5 });
  t.same(parse('valRocAuc:5:0.01'), { metric: 'valRocAuc', patience: 5, minDelta: 0.01 });
  t.same(parse('valRocAuc:3:4'), { metric: 'valRocAuc:3', patience: 4 });
  t.same(parse('valPrAuc:ants:4:0.01'), { metric: 'valPrAuc:ants', patience: 4, minDelta: 0.01 });
  t.same(parse('valEce:2'), { metric: 'valEce', patience: 2 });
  for (const text of [
    'valLoss',
    'valLoss:',
    ':3',
    'valLoss:x',
    'valLoss:1:x',
    'valLoss:1:2:3',
    'valLoss:-1',
    '',
  ]) {
    t.throws(() => parse(text), { code: 'INVALID_VALUE', message: /metric:patience/ }, text);
  }
  t.end();
});
