// RandAugment (Cubuk et al. 2020): random operations of one shared magnitude, with torchvision's results to the last bit.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "random.h"

namespace torchgraft {

/// Operations an image, one after the other, and how strong they are: 0 to 30, torchvision's 31 bins.
struct RandAugmentOptions {
  int64_t operations = 2;
  int64_t magnitude = 9;
};

/// torchvision.transforms.RandAugment's space, in its order.
enum class Operation {
  identity, shearX, shearY, translateX, translateY, rotate, brightness, color, contrast, sharpness, posterize, solarize,
  autoContrast, equalize
};

/// image: uint8 [3, h, w] on any device. What torchvision's _apply_op makes of it at this bin, nearest neighbours and black
/// beyond the borders; `negative` turns the direction of operations that have one.
at::Tensor applied(const at::Tensor& image, Operation operation, int64_t bin, bool negative);

/// image: uint8 [3, h, w]. The sample's random numbers pick the operations and their directions.
at::Tensor randAugmented(const at::Tensor& image, const Random& random, const RandAugmentOptions& options);

}  // namespace torchgraft
