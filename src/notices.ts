import type { ModelDescription } from './native.js';

/** Of a model without parameters. */
export const frozenNotice =
  'The model has no parameters: torch.jit.freeze made constants of them. It can predict but not learn. ' +
  'Export it again with torch.jit.script(model) or torch.jit.trace(model, example), without torch.jit.freeze.';

/** Dropout and BatchNorm stay in train mode, whatever eval() says. */
export function isTracedInTrain({ origin, tracedInEval, modules }: ModelDescription): boolean {
  return origin === 'traced' && !tracedInEval && modules.some(({ type }) => /Dropout|BatchNorm/.test(type));
}

/** What a person should know of a model before training it, one sentence each; empty when all is well. */
export function describeNotices(model: ModelDescription): string[] {
  const notices: string[] = [];
  if (model.frozen) {
    notices.push(frozenNotice);
  }
  if (model.tracedInEval) {
    notices.push(
      'The model was traced in eval mode: train() changes nothing in it. Dropout stays off and BatchNorm keeps its ' +
        'statistics while fine-tuning. Export it with torch.jit.script(model) if you need either.',
    );
  }
  if (isTracedInTrain(model)) {
    notices.push(
      'The model was traced in train mode: eval() changes nothing in it. Dropout and BatchNorm stay in train mode, ' +
        'even where layers are frozen and when it predicts. Export it with torch.jit.script(model), or trace it in eval mode.',
    );
  }
  if (model.savedInTrainMode) {
    notices.push('The file was saved in train mode; it was put into eval mode.');
  }
  if (model.savedWithoutGrad.length > 0) {
    const { length } = model.savedWithoutGrad;
    notices.push(
      `${length} parameter${length === 1 ? ' was' : 's were'} saved with requires_grad off, for example ` +
        `${model.savedWithoutGrad[0]}; all can learn now. Freeze those that should not.`,
    );
  }
  if (model.unusedLayers.length > 0) {
    const { length } = model.unusedLayers;
    notices.push(
      `Forward never uses ${length === 1 ? 'a layer that has' : `${length} layers that have`} parameters, ` +
        `${length === 1 ? '' : 'for example '}${model.unusedLayers[0]}: ${length === 1 ? 'it counts' : 'they count'} for nothing in ` +
        `last:K and the other strategies, and ${length === 1 ? 'does' : 'do'} not learn.`,
    );
  }
  if (model.foldedBatchNorm) {
    notices.push(
      'BatchNorm is already folded into the convolutions (mean 0, variance 1 throughout). It stays in eval mode: ' +
        'new statistics would undo the weights.',
    );
  }
  return notices;
}
