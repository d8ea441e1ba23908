import { randomIntegers } from '../data/random.js';
import type { LinearMap } from '../probe/linear-file.js';
import { moduleFile } from '../probe/module-file.js';

/** Width of the discriminator's hidden layer. */
const discriminatorWidth = 128;

// The gradient of `turned` is -strength times that of z, and its value is z, both to the last bit.
const methods = `  def forward(self: __torch__.Adapter,
    x: Tensor,
    strength: Tensor) -> Tensor:
    z = torch.linear(x, self.transform, self.shift)
    scores = torch.linear(z, self.weight, self.bias)
    fixed = torch.detach(z)
    turned = torch.sub(fixed, torch.mul(torch.sub(z, fixed), strength))
    inner = torch.relu(torch.linear(turned, self.inner_weight, self.inner_bias))
    domain = torch.linear(inner, self.domain_weight, self.domain_bias)
    told = torch.add(torch.zeros_like(domain), strength)
    return torch.cat([scores, z, domain, told], 1)
`;

/**
 * The bytes of a TorchScript file: a linear transform of d features that begins as the identity, the classifier given
 * behind it, and a discriminator of domains behind a gradient reversal (Ganin et al., 2016). Takes features [n, d] and the
 * strength of the reversal [1], and returns [n, classes | d | domain | strength].
 */
export function adapterFile({ weight, bias }: LinearMap, seed: number): Uint8Array {
  const classes = bias.length;
  const features = weight.length / classes;
  const width = discriminatorWidth;
  const transform = new Float32Array(features * features);
  for (let i = 0; i < features; i++) transform[i * features + i] = 1;
  // PyTorch's default for the weights of a Linear.
  const inner = uniform(width * features, 1 / Math.sqrt(features), randomIntegers(seed, 0));
  const domain = uniform(width, 1 / Math.sqrt(width), randomIntegers(seed, 1));
  return moduleFile({
    name: 'Adapter',
    parameters: [
      { name: 'transform', values: transform, shape: [features, features] },
      { name: 'shift', values: new Float32Array(features), shape: [features] },
      { name: 'weight', values: weight.slice(), shape: [classes, features] },
      { name: 'bias', values: bias.slice(), shape: [classes] },
      { name: 'inner_weight', values: inner, shape: [width, features] },
      { name: 'inner_bias', values: new Float32Array(width), shape: [width] },
      { name: 'domain_weight', values: domain, shape: [1, width] },
      { name: 'domain_bias', values: new Float32Array(1), shape: [1] },
    ],
    methods,
  });
}

function uniform(count: number, bound: number, next: () => number): Float32Array {
  return Float32Array.from({ length: count }, () => (next() / 2 ** 31 - 1) * bound);
}
