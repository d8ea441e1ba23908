/**
 * What each trained method adds to the cross-entropy of the source rows, as TorchScript. Rows of the source have their
 * class as target, rows of the target domain -1. The adapter's output is [n, classes | features | domain | strength].
 */

/** Methods that train the adapter. */
export const trainedMethods = ['coral', 'mmd', 'dann', 'mcc', 'pseudoLabels'] as const;
export type TrainedMethod = (typeof trainedMethods)[number];

/** Temperature of MCC's probabilities, as in its authors' code. */
const mccTemperature = 2.5;

const covariance = `def covariance(x):
    centred = x - x.mean([0], True)
    return centred.t().mm(centred) / (x.size(0) - 1)
`;

/** By method: helpers, and an expression of `a`, `b` (features), `scores`, `targets` (scores) and `domain`. */
const terms: Record<TrainedMethod, (confidence: number) => string> = {
  // Sun and Saenko, Deep CORAL, 2016: squared distance of the covariances over 4 d^2.
  coral: () => `${covariance}
def term(a, b, targets, domain, isSource):
    difference = covariance(a) - covariance(b)
    return difference.mul(difference).sum() / (4 * a.size(1) * a.size(1))
`,
  // Long et al., Learning Transferable Features with Deep Adaptation Networks, 2015: squared MMD with several Gaussian
  // kernels. The paper learns their weights; here, as in the Transfer-Learning-Library, five count the same: exp(-squared
  // distance / b), b a quarter to four times the batch's mean. Their mean, not their sum; the biased estimate, never below 0.
  mmd: () => `def term(a, b, targets, domain, isSource):
    both = torch.cat([a, b], 0)
    squares = both.mul(both).sum([1], True)
    distances = (squares + squares.t() - both.mm(both.t()) * 2).clamp_min(0)
    count = both.size(0)
    bandwidth = (distances.sum() / (count * count - count)).detach()
    kernel = torch.zeros_like(distances)
    for factor in [0.25, 0.5, 1.0, 2.0, 4.0]:
        kernel = kernel + torch.exp(-distances / (bandwidth * factor)) / 5
    n = a.size(0)
    return kernel[:n, :n].mean() + kernel[n:, n:].mean() - kernel[:n, n:].mean() * 2
`,
  // Ganin et al., Domain-Adversarial Training of Neural Networks, 2016. The gradient is reversed in the adapter.
  dann: () => `def term(a, b, targets, domain, isSource):
    return torch.binary_cross_entropy_with_logits(domain, isSource)
`,
  // Jin et al., Minimum Class Confusion for Versatile Domain Adaptation, 2020.
  mcc: () => `def term(a, b, targets, domain, isSource):
    p = torch.softmax(targets / ${mccTemperature}, 1)
    entropy = -(p * torch.log_softmax(targets / ${mccTemperature}, 1)).sum([1])
    weight = torch.exp(-entropy) + 1
    weight = (weight * p.size(0) / weight.sum()).detach()
    matrix = (p * weight.unsqueeze(1)).t().mm(p)
    matrix = matrix / matrix.sum([1], True)
    return (matrix.sum() - matrix.trace()) / p.size(1)
`,
  // Lee, Pseudo-Label, 2013; of confident targets only.
  pseudoLabels: (confidence) => `def term(a, b, targets, domain, isSource):
    most, label = torch.max(torch.softmax(targets.detach(), 1), 1)
    losses = torch.cross_entropy_loss(targets, label, None, 0)
    return (losses * (most >= ${confidence}).to(losses.dtype)).sum() / targets.size(0)
`,
};

/** DANN's strength is that of its reversed gradient: the discriminator itself learns at full rate. */
const factors: Record<TrainedMethod, string> = {
  coral: ' * strength',
  mmd: ' * strength',
  dann: '',
  mcc: ' * strength',
  pseudoLabels: ' * strength',
};

/**
 * The loss of a method: cross-entropy of the source rows, and its term times the strength that the adapter was given.
 *
 * @param setting number of `classes`, and of `features` (d); `confidence`: smallest probability of a pseudo-label
 */
export function domainLoss(
  method: TrainedMethod,
  { classes, features, confidence }: { classes: number; features: number; confidence: number },
): string {
  const domain = classes + features;
  return `${terms[method](confidence)}
def loss(output, target):
    source = target >= 0
    z = output[:, ${classes}:${domain}]
    scores = output[:, :${classes}]
    strength = output[0, ${domain + 1}].detach()
    added = term(z[source], z[target < 0], scores[target < 0], output[:, ${domain}], source.to(output.dtype))
    return torch.cross_entropy_loss(scores[source], target[source]) + added${factors[method]}
`;
}
