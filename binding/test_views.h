// Test-time augmentation: several views of each image, whose probabilities are averaged.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace torchgraft {

/// crops: rows that belong to one image, one after the other. mirrored: each also the other way round.
struct TestViews {
  int64_t crops = 1;
  bool mirrored = false;

  bool several() const { return crops > 1 || mirrored; }
};

/// images: [n * crops, 3, h, w]. With mirrored ones behind them, [2 * n * crops, 3, h, w]. Throws SHAPE_MISMATCH when they are no
/// whole number of images.
at::Tensor withMirrored(const at::Tensor& images, const TestViews& views);

/// logits: [views * n, classes] of what withMirrored() gave. Returns [n, classes]: logarithms of the mean of the views'
/// softmax probabilities, which are logits too, for their softmax is that mean. Throws SHAPE_MISMATCH.
at::Tensor averaged(const at::Tensor& logits, const TestViews& views);

}  // namespace torchgraft
