#include "mix.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "failure.h"
#include "random.h"

namespace torchgraft {

namespace {

// Slots of Random: which of the two, the box's middle, and from there on the Beta distribution's.
constexpr uint64_t which = 300, middleY = 301, middleX = 302, firstBeta = 310;

// FNV-1a over whole indices: what tells one batch from another.
uint64_t hashOf(const at::Tensor& indices) {
  const auto list = indices.to(at::kCPU, at::kLong).contiguous();
  uint64_t hash = 0xcbf29ce484222325ULL;
  for (int64_t i = 0; i < list.numel(); i++) {
    hash = (hash ^ static_cast<uint64_t>(list.const_data_ptr<int64_t>()[i])) * 0x100000001b3ULL;
  }
  return hash;
}

// Numbers of Random one after the other, for methods that need an unknown count of them.
class Draws {
 public:
  Draws(const Random& random, uint64_t slot) : random_(random), slot_(slot) {}

  double uniform() { return random_.uniform(slot_++); }

  double normal() {
    const double radius = std::sqrt(-2 * std::log1p(-uniform()));
    return radius * std::cos(2 * std::numbers::pi * uniform());
  }

 private:
  const Random& random_;
  uint64_t slot_;
};

// Logarithm of a Gamma(shape) number, by Marsaglia and Tsang (2000), whose boost serves shapes below 1. A small shape's
// numbers are too small for a double, their logarithms are not.
double logGamma(Draws& draws, double shape) {
  if (shape < 1) {
    const double boost = std::log1p(-draws.uniform()) / shape;
    return logGamma(draws, shape + 1) + boost;
  }
  const double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double x = draws.normal();
    const double root = 1 + c * x;
    const double u = draws.uniform();
    if (root <= 0) continue;
    const double v = root * root * root;
    if (std::log1p(-u) < 0.5 * x * x + d - d * v + d * std::log(v)) return std::log(d * v);
  }
}

double beta(const Random& random, double alpha) {
  Draws draws(random, firstBeta);
  const double first = logGamma(draws, alpha);
  const double second = logGamma(draws, alpha);
  return 1 / (1 + std::exp(second - first));
}

CropBox boxOf(const Random& random, double share, int64_t height, int64_t width) {
  const double side = std::sqrt(1 - share);
  auto span = [&](uint64_t slot, int64_t length) {
    const auto middle = static_cast<int64_t>(random.uniform(slot) * static_cast<double>(length));
    const int64_t half = static_cast<int64_t>(static_cast<double>(length) * side) / 2;
    return std::pair(std::max<int64_t>(0, middle - half), std::min(length, middle + half));
  };
  const auto [top, bottom] = span(middleY, height);
  const auto [left, right] = span(middleX, width);
  return {top, left, bottom - top, right - left};
}

}  // namespace

Mix drawMix(const MixOptions& options, const at::Tensor& indices, uint64_t seed, uint64_t epoch, int64_t height, int64_t width) {
  const Random random(seed, epoch, hashOf(indices));
  const bool cuts = options.cutmix > 0 && (options.mixup == 0 || random.uniform(which) < 0.5);
  if (!cuts) return {beta(random, options.mixup), std::nullopt};
  const CropBox box = boxOf(random, beta(random, options.cutmix), height, width);
  const double area = static_cast<double>(box.height * box.width);
  return {1 - area / static_cast<double>(height * width), box};
}

void mixImages(at::Tensor& images, const Mix& mix) {
  if (!mix.box) {
    const auto others = images.flip(0).mul_(1 - mix.share);
    images.mul_(mix.share).add_(others);
    return;
  }
  auto part = images.narrow(2, mix.box->top, mix.box->height).narrow(3, mix.box->left, mix.box->width);
  part.copy_(part.flip(0));
}

at::Tensor mixedTarget(const at::Tensor& labels, int64_t classes, const Mix& mix) {
  const auto indices = labels.to(at::kCPU, at::kLong);
  const bool fits = indices.dim() == 1 && indices.numel() > 0 && indices.min().item<int64_t>() >= 0 && indices.max().item<int64_t>() < classes;
  if (!fits || !at::isIntegralType(labels.scalar_type(), /*includeBool=*/false)) {
    throw Failure("SHAPE_MISMATCH", "mixup and cutmix need class indices [n] from 0 to " + std::to_string(classes - 1) + " as targets.");
  }
  const auto own = at::one_hot(indices, classes).to(at::kFloat);
  return own * mix.share + own.flip(0) * (1 - mix.share);
}

at::Tensor dominantLabels(const at::Tensor& labels, const Mix& mix) { return mix.share >= 0.5 ? labels : labels.flip(0); }

}  // namespace torchgraft
