import type { ModelDescription } from './native.js';

/** Of a model without parameters. */
export const frozenNotice =
  'The model has no parameters: torch.jit.freeze made constants of them. It can predict but not learn. ' +
  'Export it again with torch.jit.script(model) or torch.jit.trace(model, example), without torch.jit.freeze.';

/** Of a model with 8-bit weights. */
export function quantisedNotice({ quantised }: ModelDescription): string {
  return (
    `The model is quantised: ${quantised[0] === '' ? 'it' : `\`${quantised[0]}\``} has 8-bit weights. It can predict on the CPU but ` +
    'not learn. Export the float32 model, without torch.ao.quantization.'
  );
}

/** Why a model cannot serve: the same input gives other outputs each time. Undefined where it can. */
export function whyChanging({ changingInEval }: ModelDescription): string | undefined {
  if (changingInEval === '') return undefined;
  const what = /norm/.test(changingInEval) ? 'normalises by the batch' : 'draws random numbers';
  return (
    `The model ${what} in eval mode too (${changingInEval}), so it would give the same image another answer each time. ` +
    'Trace it in eval mode, or export it with torch.jit.script(model) and pass `training=self.training` to functions such ' +
    'as F.dropout.'
  );
}

const squashes = ['softmax', '_softmax', 'log_softmax', '_log_softmax', 'sigmoid', 'log_sigmoid'];

/** What makes probabilities of the head's outputs at the end of forward; undefined where they are logits. */
export function squashOf({ heads }: ModelDescription): string | undefined {
  const last = heads.find(({ role }) => role === 'main')?.after.at(-1);
  return last !== undefined && squashes.includes(last) ? last.replace(/^_/, '') : undefined;
}

/** Of a network that had one, whose new head comes without it. */
export function cutNotice(cut: readonly string[]): string {
  return (
    `The network ended in ${cut.join(' and ')}, which was cut off: loss and predictions take logits and apply it themselves. ` +
    'Called from elsewhere, the saved model gives logits.'
  );
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
  if (model.tracedInTrain) {
    notices.push(
      'The model was traced in train mode. Its dropout and BatchNorm now follow train and eval mode, as in a scripted model; ' +
        'so they will in the saved file.',
    );
  }
  const changing = whyChanging(model);
  if (changing) notices.push(changing);
  const squash = squashOf(model);
  if (squash) {
    notices.push(
      `The network ends in ${squash}; a new head comes without it. To train it step by step yourself (\`createTrainer\`), ` +
        'call `replaceHead` first.',
    );
  }
  if (model.convertedFrom.length > 0) {
    notices.push(`The weights were ${model.convertedFrom.join(' and ')}; they were converted to float32.`);
  }
  if (model.moved) {
    notices.push(
      `The code named the device that the model was traced on; it was changed to ${model.device}.`,
    );
  }
  if (model.quantised.length > 0) {
    notices.push(quantisedNotice(model));
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
