import { moduleFile } from './module-file.js';

/** A linear map from d features to `rows` scores: x W^T + b. */
export interface LinearMap {
  /** [rows, d], row-major. */
  weight: Float32Array;
  /** [rows]. */
  bias: Float32Array;
}

const methods = `  def forward(self: __torch__.Linear,
    x: Tensor) -> Tensor:
    return torch.linear(x, self.weight, self.bias)
`;

/** The bytes of a TorchScript file whose model is one Linear, so that what is linear is computed natively. */
export function linearFile({ weight, bias }: LinearMap): Uint8Array {
  const rows = bias.length;
  return moduleFile({
    name: 'Linear',
    parameters: [
      { name: 'weight', values: weight, shape: [rows, weight.length / rows] },
      { name: 'bias', values: bias, shape: [rows] },
    ],
    methods,
  });
}
