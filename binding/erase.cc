#include "erase.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numbers>

namespace torchgraft {

namespace {

// Slots of Random: whether at all; four for each try; then two for each pixel of noise and channel.
constexpr uint64_t whether = 200, firstTry = 204, firstNoise = 1000;
constexpr int tries = 10;

// Standard normal numbers by Box and Muller's method.
at::Tensor noiseOf(const CropBox& box, const Random& random) {
  auto values = at::empty({3, box.height, box.width}, at::kFloat);
  auto* value = values.mutable_data_ptr<float>();
  for (int64_t i = 0; i < values.numel(); i++) {
    const uint64_t slot = firstNoise + 2 * static_cast<uint64_t>(i);
    const double radius = std::sqrt(-2 * std::log1p(-random.uniform(slot)));
    value[i] = static_cast<float>(radius * std::cos(2 * std::numbers::pi * random.uniform(slot + 1)));
  }
  return values;
}

}  // namespace

std::optional<CropBox> sampleErasing(int64_t width, int64_t height, const ErasingOptions& options, const Random& random) {
  if (!(random.uniform(whether) < options.probability)) return std::nullopt;
  const double area = static_cast<double>(width) * static_cast<double>(height);
  for (uint64_t slot = firstTry; slot < firstTry + 4 * tries; slot += 4) {
    const double target = area * random.between(slot, options.scale[0], options.scale[1]);
    const double ratio = std::exp(random.between(slot + 1, std::log(options.ratio[0]), std::log(options.ratio[1])));
    const auto h = static_cast<int64_t>(std::nearbyint(std::sqrt(target * ratio)));
    const auto w = static_cast<int64_t>(std::nearbyint(std::sqrt(target / ratio)));
    if (h >= height || w >= width) continue;
    const auto top = static_cast<int64_t>(random.uniform(slot + 2) * static_cast<double>(height - h + 1));
    const auto left = static_cast<int64_t>(random.uniform(slot + 3) * static_cast<double>(width - w + 1));
    return CropBox{top, left, h, w};
  }
  return std::nullopt;
}

void erase(at::Tensor image, const Random& random, const ErasingOptions& options) {
  const auto box = sampleErasing(image.size(2), image.size(1), options, random);
  if (!box) return;
  auto part = image.narrow(1, box->top, box->height).narrow(2, box->left, box->width);
  if (options.noise) {
    part.copy_(noiseOf(*box, random));
  } else {
    part.zero_();
  }
}

}  // namespace torchgraft
