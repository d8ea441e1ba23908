#include "test_views.h"

#include <ATen/ATen.h>

#include <cmath>

#include "failure.h"

namespace torchgraft {

at::Tensor withMirrored(const at::Tensor& images, const TestViews& views) {
  if (images.dim() != 4 || images.size(0) % views.crops != 0) {
    throw Failure("SHAPE_MISMATCH", "evaluate: " + c10::str(images.sizes()) + " images are not " + std::to_string(views.crops) + " views of each.");
  }
  return views.mirrored ? at::cat({images, images.flip(3)}) : images;
}

at::Tensor averaged(const at::Tensor& logits, const TestViews& views) {
  const int64_t mirrors = views.mirrored ? 2 : 1;
  if (logits.dim() != 2 || logits.size(0) % (mirrors * views.crops) != 0) {
    throw Failure("SHAPE_MISMATCH", "evaluate: the model's output is " + c10::str(logits.sizes()) + "; averaging views needs [n, classes].");
  }
  const auto byView = at::log_softmax(logits.to(at::kFloat), 1).view({mirrors, -1, views.crops, logits.size(1)});
  // In logarithms: a probability that is 0 in float32 still has one.
  return at::logsumexp(byView, at::IntArrayRef({0, 2})) - std::log(static_cast<double>(mirrors * views.crops));
}

}  // namespace torchgraft
