// Random erasing (Zhong et al. 2020) as torchvision.transforms.RandomErasing does it, after normalisation.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <optional>

#include "crop_box.h"
#include "random.h"

namespace torchgraft {

/// Share of the area, and height / width of the box: [low, high] each. Filled with 0, the mean of a normalised image, or
/// with a normal random number for each pixel and channel.
struct ErasingOptions {
  double probability = 0;
  std::array<double, 2> scale{0.02, 0.33};
  std::array<double, 2> ratio{0.3, 3.3};
  bool noise = false;
};

/// The box of RandomErasing.get_params, whose ten tries may all fail; nothing where the image is left as it is.
std::optional<CropBox> sampleErasing(int64_t width, int64_t height, const ErasingOptions& options, const Random& random);

/// image: float [3, h, w], any strides and device, in place.
void erase(at::Tensor image, const Random& random, const ErasingOptions& options);

}  // namespace torchgraft
