#include "rand_augment.h"

#include <ATen/ATen.h>

#include <array>
#include <cmath>
#include <numbers>

namespace torchgraft {

namespace {

constexpr int64_t bins = 31;
constexpr int64_t operationCount = 14;
// Two slots of Random an operation: which one, and its direction.
constexpr uint64_t firstSlot = 100;

// The same function as torchvision's, so that the same float comes out.
double magnitudeOf(double low, double high, int64_t bin) {
  return at::linspace(low, high, bins, at::kFloat)[bin].item<float>();
}

// factor * image + (1 - factor) * other, cut to whole levels as torchvision does.
at::Tensor blended(const at::Tensor& image, const at::Tensor& other, double factor) {
  return (image.to(at::kFloat) * factor + other.to(at::kFloat) * (1 - factor)).clamp_(0, 255).to(at::kByte);
}

// uint8 [1, h, w].
at::Tensor greyOf(const at::Tensor& image) {
  auto floats = image.to(at::kFloat);
  auto channel = [&](int64_t c, double weight) { return floats.narrow(0, c, 1) * weight; };
  return (channel(0, 0.2989) + channel(1, 0.587) + channel(2, 0.114)).to(at::kByte);
}

// matrix: rows of the map from output to input, in pixels from the centre.
at::Tensor warped(const at::Tensor& image, const std::array<double, 6>& matrix) {
  int64_t height = image.size(1), width = image.size(2);
  auto floats = image.options().dtype(at::kFloat);
  auto centres = [&](int64_t count) {
    return at::linspace(0.5 - count * 0.5, count * 0.5 - 0.5, count, floats);
  };
  auto x = centres(width).view({1, width}), y = centres(height).view({height, 1});
  auto grid = at::empty({1, height, width, 2}, floats);
  for (int64_t row = 0; row < 2; row++) {
    const float half = static_cast<float>(0.5 * static_cast<double>(row == 0 ? width : height));
    auto entry = [&](int64_t column) { return static_cast<float>(matrix[3 * row + column]) / half; };
    grid[0].select(2, row).copy_(x * entry(0) + y * entry(1) + entry(2));
  }
  constexpr int64_t nearest = 1, zeros = 0;
  return at::grid_sampler(image.to(at::kFloat).unsqueeze(0), grid, nearest, zeros, /*align_corners=*/false)
      .squeeze(0)
      .round_()
      .to(at::kByte);
}

at::Tensor rotated(const at::Tensor& image, double degrees) {
  const double angle = degrees * std::numbers::pi / 180;
  return warped(image, {std::cos(angle), -std::sin(angle), 0, std::sin(angle), std::cos(angle), 0});
}

at::Tensor contrasted(const at::Tensor& image, double factor) {
  auto grey = greyOf(image);
  // A sum of whole numbers is the same in whatever order threads add it.
  const double mean = static_cast<double>(grey.sum(at::kLong).item<int64_t>()) / static_cast<double>(grey.numel());
  return blended(image, at::full({1}, mean, image.options().dtype(at::kFloat)), factor);
}

// The blurred image is (the sum of 3 x 3 pixels + 4 times the middle one) / 13, rounded; its border is the image's own.
at::Tensor sharpened(const at::Tensor& image, double factor) {
  int64_t height = image.size(1), width = image.size(2);
  if (height <= 2 || width <= 2) return image;
  auto levels = image.to(at::kInt);
  auto rows = levels.narrow(1, 0, height - 2) + levels.narrow(1, 1, height - 2) + levels.narrow(1, 2, height - 2);
  auto sums = rows.narrow(2, 0, width - 2) + rows.narrow(2, 1, width - 2) + rows.narrow(2, 2, width - 2);
  auto inner = [&](const at::Tensor& whole) { return whole.narrow(1, 1, height - 2).narrow(2, 1, width - 2); };
  sums.add_(inner(levels), 4);
  auto blurred = image.clone();
  inner(blurred).copy_(at::floor_divide(sums * 2 + 13, 26));
  return blended(image, blurred, factor);
}

at::Tensor posterized(const at::Tensor& image, int64_t bin) {
  const auto lost = static_cast<int64_t>(std::nearbyint(static_cast<double>(bin) / ((bins - 1) / 4.0)));
  return image.bitwise_and(256 - (int64_t{1} << lost));
}

at::Tensor solarized(const at::Tensor& image, double threshold) {
  return at::where(image.to(at::kFloat) >= threshold, 255 - image, image);
}

at::Tensor stretched(const at::Tensor& image) {
  auto low = image.amin({1, 2}, /*keepdim=*/true).to(at::kFloat);
  auto high = image.amax({1, 2}, /*keepdim=*/true).to(at::kFloat);
  // As Python divides a number by a tensor: 255 / x rounds other values.
  auto scale = at::reciprocal(high - low) * 255;
  auto flat = scale.isfinite().logical_not();
  low.masked_fill_(flat, 0);
  scale.masked_fill_(flat, 1);
  return ((image.to(at::kFloat) - low) * scale).clamp_(0, 255).to(at::kByte);
}

at::Tensor equalizedChannel(const at::Tensor& channel) {
  auto levels = channel.reshape(-1).to(at::kLong);
  auto counts = at::bincount(levels, {}, 256);
  // The brightest level that occurs does not count.
  const int64_t brightest = levels.max().item<int64_t>();
  const int64_t step = counts.narrow(0, 0, brightest).sum().item<int64_t>() / 255;
  if (step == 0) return channel;
  auto table = at::floor_divide(counts.cumsum(0).add_(step / 2), step);
  auto shifted = at::cat({at::zeros({1}, table.options()), table.narrow(0, 0, 255)}).clamp_(0, 255);
  return shifted.index_select(0, levels).to(at::kByte).view_as(channel);
}

}  // namespace

at::Tensor applied(const at::Tensor& image, Operation operation, int64_t bin, bool negative) {
  const double height = static_cast<double>(image.size(1)), width = static_cast<double>(image.size(2));
  auto upTo = [&](double most) { return magnitudeOf(0, most, bin) * (negative ? -1 : 1); };
  switch (operation) {
    case Operation::identity:
      return image;
    case Operation::shearX: {
      const double shear = upTo(0.3);
      return warped(image, {1, shear, shear * height / 2, 0, 1, 0});
    }
    case Operation::shearY: {
      const double shear = upTo(0.3);
      return warped(image, {1, 0, 0, shear, 1, shear * width / 2});
    }
    case Operation::translateX:
      return warped(image, {1, 0, -std::trunc(upTo(150.0 / 331.0 * width)), 0, 1, 0});
    case Operation::translateY:
      return warped(image, {1, 0, 0, 0, 1, -std::trunc(upTo(150.0 / 331.0 * height))});
    case Operation::rotate:
      return rotated(image, upTo(30));
    case Operation::brightness:
      return blended(image, at::zeros_like(image), 1 + upTo(0.9));
    case Operation::color:
      return blended(image, greyOf(image), 1 + upTo(0.9));
    case Operation::contrast:
      return contrasted(image, 1 + upTo(0.9));
    case Operation::sharpness:
      return sharpened(image, 1 + upTo(0.9));
    case Operation::posterize:
      return posterized(image, bin);
    case Operation::solarize:
      return solarized(image, magnitudeOf(255, 0, bin));
    case Operation::autoContrast:
      return stretched(image);
    case Operation::equalize:
      return at::stack({equalizedChannel(image[0]), equalizedChannel(image[1]), equalizedChannel(image[2])});
  }
  return image;
}

at::Tensor randAugmented(const at::Tensor& image, const Random& random, const RandAugmentOptions& options) {
  at::Tensor result = image;
  for (int64_t i = 0; i < options.operations; i++) {
    const uint64_t slot = firstSlot + 2 * static_cast<uint64_t>(i);
    const auto operation = static_cast<Operation>(static_cast<int64_t>(random.uniform(slot) * operationCount));
    result = applied(result, operation, options.magnitude, random.uniform(slot + 1) < 0.5);
  }
  return result;
}

}  // namespace torchgraft
