#include "augment.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include "failure.h"

namespace torchgraft {

namespace {

// One slot of Random for every decision, so that turning one augmentation on leaves the others' numbers as they were.
// The crop's tries own slots 0 to 39, four each.
enum Decision : uint64_t { horizontalFlip = 40, verticalFlip, rotation, brightness, contrast, saturation, hue };

constexpr int cropTries = 10;

void checkPixels(const at::Tensor& pixels) {
  if (pixels.scalar_type() != at::kByte || pixels.dim() != 4 || pixels.size(3) != 3 || pixels.size(1) < 1 ||
      pixels.size(2) < 1) {
    std::string sizes;
    for (auto size : pixels.sizes()) sizes += (sizes.empty() ? "" : ", ") + std::to_string(size);
    throw Failure("SHAPE_MISMATCH", "Images are " + std::string(c10::toString(pixels.scalar_type())) + " [" + sizes +
                                        "]; expected uint8 [n, height, width, 3].");
  }
}

void checkSamples(const at::Tensor& pixels, const at::Tensor& sizes, const at::Tensor& indices, bool needsSizes) {
  int64_t n = pixels.size(0);
  if (!indices.defined() || indices.dim() != 1 || indices.size(0) != n)
    throw Failure("SHAPE_MISMATCH", "Augmentation needs `indices`, one per image (" + std::to_string(n) + ").");
  if (!needsSizes) return;
  if (!sizes.defined() || sizes.dim() != 2 || sizes.size(0) != n || sizes.size(1) != 2)
    throw Failure("SHAPE_MISMATCH",
                  "`augment.crop` needs `sizes`, width and height of each original image: [" + std::to_string(n) + ", 2].");
  if (n > 0 && sizes.min().item<int64_t>() < 1)
    throw Failure("SHAPE_MISMATCH", "`sizes` has an image without pixels: widths and heights start at 1.");
}

// (x / range - mean) / std as one multiply-add: factor and offset of each channel.
std::pair<std::array<double, 3>, std::array<double, 3>> normalisation(const Preprocess& options, double range) {
  std::array<double, 3> factor, offset;
  for (int c = 0; c < 3; c++) {
    factor[c] = 1 / (range * options.std[c]);
    offset[c] = -options.mean[c] / options.std[c];
  }
  return {factor, offset};
}

at::Tensor normalised(const at::Tensor& pixels, const Preprocess& options) {
  int64_t n = pixels.size(0), height = pixels.size(1), width = pixels.size(2);
  auto [factor, offset] = normalisation(options, 255);
  auto floats = pixels.options().dtype(at::kFloat);
  // Rows of width x 3 keep the innermost loop long; per channel it would be 3.
  auto rows = pixels.reshape({n * height, width * 3}).to(at::kFloat);
  auto wide = [&](const std::array<double, 3>& values) { return at::tensor(values, floats).repeat({width}); };
  at::addcmul_out(rows, wide(offset), rows, wide(factor));
  return rows.view({n, height, width, 3}).permute({0, 3, 1, 2});
}

// torchvision's rgb_to_grayscale: [n, 1, h, w].
at::Tensor greyOf(const at::Tensor& images) {
  auto grey = images.narrow(1, 0, 1) * 0.2989;
  grey.add_(images.narrow(1, 1, 1), 0.587);
  return grey.add_(images.narrow(1, 2, 1), 0.114);
}

// factor * images + (1 - factor) * others, within 0..1.
void blend(at::Tensor& images, const at::Tensor& others, const at::Tensor& factors) {
  images.mul_(factors).add_(others * (1 - factors)).clamp_(0, 1);
}

// The random decisions of a batch, as tensors of n samples on the CPU.
struct Decisions {
  std::vector<Random> randoms;
  at::Tensor maps;                                     // [n, 2, 3]; undefined when nothing is resampled
  at::Tensor mirrored, upended;                        // bool [n, 1, 1, 1]; when nothing is resampled
  at::Tensor brightness, contrast, saturation, hue;    // [n, 1, 1, 1]; undefined when off
};

at::Tensor drawn(const std::vector<Random>& randoms, Decision decision, double low, double high) {
  auto values = at::empty({static_cast<int64_t>(randoms.size()), 1, 1, 1}, at::kFloat);
  auto* value = values.mutable_data_ptr<float>();
  for (const auto& random : randoms) *value++ = static_cast<float>(random.between(decision, low, high));
  return values;
}

Geometry decideGeometry(const Random& random, int64_t width, int64_t height, const AugmentOptions& options) {
  return {options.crop ? sampleCrop(width, height, *options.crop, random) : CropBox{0, 0, height, width},
          random.uniform(Decision::horizontalFlip) < options.horizontalFlip,
          random.uniform(Decision::verticalFlip) < options.verticalFlip,
          random.between(Decision::rotation, -options.rotation, options.rotation)};
}

at::Tensor mapsOf(const std::vector<Random>& randoms, const at::Tensor& pixels, const at::Tensor& sizes,
                  const Preprocess& preprocess, const AugmentOptions& options) {
  auto count = static_cast<int64_t>(randoms.size());
  auto maps = at::empty({count, 2, 3}, at::kFloat);
  auto originals = options.crop ? sizes.to(at::kCPU, at::kLong).contiguous()
                                : at::tensor({pixels.size(2), pixels.size(1)}, at::kLong).repeat({count, 1});
  const auto* size = originals.const_data_ptr<int64_t>();
  auto* map = maps.mutable_data_ptr<float>();
  for (const auto& random : randoms) {
    auto geometry = decideGeometry(random, size[0], size[1], options);
    auto values = affineMap(geometry, size[0], size[1], preprocess.width, preprocess.height);
    map = std::copy(values.begin(), values.end(), map);
    size += 2;
  }
  return maps;
}

Decisions decide(const at::Tensor& pixels, const at::Tensor& sizes, const at::Tensor& indices, uint64_t seed,
                 uint64_t epoch, const Preprocess& preprocess, const AugmentOptions& options) {
  auto samples = indices.to(at::kCPU, at::kLong).contiguous();
  std::vector<Random> randoms;
  for (int64_t i = 0; i < samples.size(0); i++)
    randoms.emplace_back(seed, epoch, static_cast<uint64_t>(samples.const_data_ptr<int64_t>()[i]));
  Decisions decisions;
  decisions.randoms = randoms;
  bool fits = pixels.size(1) == preprocess.height && pixels.size(2) == preprocess.width;
  if (options.crop || options.rotation != 0 || !fits) {
    decisions.maps = mapsOf(randoms, pixels, sizes, preprocess, options);
  } else {
    if (options.horizontalFlip > 0)
      decisions.mirrored = drawn(randoms, Decision::horizontalFlip, 0, 1) < options.horizontalFlip;
    if (options.verticalFlip > 0)
      decisions.upended = drawn(randoms, Decision::verticalFlip, 0, 1) < options.verticalFlip;
  }
  auto factors = [&](Decision decision, double range) {
    return range > 0 ? drawn(randoms, decision, std::max(0.0, 1 - range), 1 + range) : at::Tensor();
  };
  decisions.brightness = factors(Decision::brightness, options.brightness);
  decisions.contrast = factors(Decision::contrast, options.contrast);
  decisions.saturation = factors(Decision::saturation, options.saturation);
  if (options.hue > 0) decisions.hue = drawn(randoms, Decision::hue, -options.hue, options.hue);
  return decisions;
}

bool jitters(const Decisions& decisions) {
  return decisions.brightness.defined() || decisions.contrast.defined() || decisions.saturation.defined() ||
         decisions.hue.defined();
}

at::Tensor flipped(const at::Tensor& pixels, const Decisions& decisions) {
  auto bytes = pixels;
  auto flip = [&](const at::Tensor& chosen, int64_t dimension) {
    if (chosen.defined()) bytes = at::where(chosen.to(pixels.device()), bytes.flip(dimension), bytes);
  };
  flip(decisions.mirrored, 2);
  flip(decisions.upended, 1);
  return bytes;
}

// images: float [n, 3, h, w] of 0..255, those of samples from `from` on. RandAugment works on whole levels, as torchvision's does.
void randAugment(at::Tensor& images, const Decisions& decisions, int64_t from, const RandAugmentOptions& options) {
  const auto levels = images.round().clamp_(0, 255).to(at::kByte).contiguous();
  for (int64_t i = 0; i < images.size(0); i++) images[i].copy_(randAugmented(levels[i], decisions.randoms[from + i], options));
}

// Resamples, jitters and normalises `count` samples from `from` on: all at once on a GPU, one at a time on a CPU thread.
void render(const at::Tensor& pixels, const Decisions& decisions, const Preprocess& options, const AugmentOptions& augment,
            at::Tensor& result, int64_t from, int64_t count) {
  auto mine = [&](const at::Tensor& all) { return all.narrow(0, from, count).to(pixels.device()); };
  auto images = pixels.narrow(0, from, count).permute({0, 3, 1, 2}).to(at::kFloat);
  if (decisions.maps.defined()) images = resample(images, mine(decisions.maps), options.height, options.width);
  if (augment.randAugment) randAugment(images, decisions, from, *augment.randAugment);
  bool jittered = jitters(decisions);
  if (jittered) images.div_(255);
  if (decisions.brightness.defined()) adjustBrightness(images, mine(decisions.brightness));
  if (decisions.contrast.defined()) adjustContrast(images, mine(decisions.contrast));
  if (decisions.saturation.defined()) adjustSaturation(images, mine(decisions.saturation));
  if (decisions.hue.defined()) adjustHue(images, mine(decisions.hue));
  auto [factor, offset] = normalisation(options, jittered ? 1 : 255);
  auto target = result.narrow(0, from, count);
  for (int64_t c = 0; c < 3; c++) {
    auto plane = target.select(1, c);
    at::add_out(plane, images.select(1, c).mul_(factor[c]), at::scalar_tensor(offset[c]));
  }
  if (!augment.erasing) return;
  for (int64_t i = 0; i < count; i++) erase(target[i], decisions.randoms[from + i], *augment.erasing);
}

at::Tensor rendered(const at::Tensor& pixels, const Decisions& decisions, const Preprocess& options, const AugmentOptions& augment) {
  int64_t n = pixels.size(0);
  auto result = at::empty({n, 3, options.height, options.width}, pixels.options().dtype(at::kFloat),
                          at::MemoryFormat::ChannelsLast);
  if (!pixels.is_cpu()) {
    render(pixels, decisions, options, augment, result, 0, n);
    return result;
  }
  // One sample to a thread: its operations then run serially, so sums do not depend on the number of threads.
  at::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) {
    at::NoGradGuard noGrad;
    for (int64_t i = begin; i < end; i++) render(pixels, decisions, options, augment, result, i, 1);
  });
  return result;
}

}  // namespace

at::Tensor preprocess(const at::Tensor& pixels, const Preprocess& options) {
  checkPixels(pixels);
  if (pixels.size(1) != options.height || pixels.size(2) != options.width)
    throw Failure("SHAPE_MISMATCH", "Images are " + std::to_string(pixels.size(2)) + " x " +
                                        std::to_string(pixels.size(1)) + " pixels; the model's preprocessing expects " +
                                        std::to_string(options.width) + " x " + std::to_string(options.height) + ".");
  at::NoGradGuard noGrad;
  return normalised(pixels, options);
}

at::Tensor augment(const at::Tensor& pixels, const at::Tensor& sizes, const at::Tensor& indices, uint64_t seed,
                   uint64_t epoch, const Preprocess& preprocess, const AugmentOptions& options) {
  checkPixels(pixels);
  checkSamples(pixels, sizes, indices, options.crop.has_value());
  at::NoGradGuard noGrad;
  auto decisions = decide(pixels, sizes, indices, seed, epoch, preprocess, options);
  auto bytes = flipped(pixels, decisions);
  bool onlyFlips = !decisions.maps.defined() && !jitters(decisions) && !options.randAugment && !options.erasing;
  return onlyFlips ? normalised(bytes, preprocess) : rendered(bytes, decisions, preprocess, options);
}

CropBox sampleCrop(int64_t width, int64_t height, const CropRange& range, const Random& random) {
  auto [lowest, highest] = range.ratio;
  double area = static_cast<double>(width) * static_cast<double>(height);
  for (uint64_t slot = 0; slot < 4 * cropTries; slot += 4) {
    double target = area * random.between(slot, range.scale[0], range.scale[1]);
    double ratio = std::exp(random.between(slot + 1, std::log(lowest), std::log(highest)));
    auto w = static_cast<int64_t>(std::nearbyint(std::sqrt(target * ratio)));
    auto h = static_cast<int64_t>(std::nearbyint(std::sqrt(target / ratio)));
    if (w < 1 || w > width || h < 1 || h > height) continue;
    auto top = static_cast<int64_t>(random.uniform(slot + 2) * static_cast<double>(height - h + 1));
    auto left = static_cast<int64_t>(random.uniform(slot + 3) * static_cast<double>(width - w + 1));
    return {top, left, h, w};
  }
  double ratio = static_cast<double>(width) / static_cast<double>(height);
  int64_t w = width, h = height;
  if (ratio < lowest) h = static_cast<int64_t>(std::nearbyint(static_cast<double>(w) / lowest));
  if (ratio > highest) w = static_cast<int64_t>(std::nearbyint(static_cast<double>(h) * highest));
  h = std::max<int64_t>(h, 1);
  w = std::max<int64_t>(w, 1);
  return {(height - h) / 2, (width - w) / 2, h, w};
}

std::array<float, 6> affineMap(const Geometry& geometry, int64_t width, int64_t height, int64_t outputWidth,
                               int64_t outputHeight) {
  const auto& crop = geometry.crop;
  auto span = [](int64_t part, int64_t whole) { return static_cast<double>(part) / static_cast<double>(whole); };
  double scaleX = span(crop.width, width) * (geometry.horizontalFlip ? -1 : 1);
  double scaleY = span(crop.height, height) * (geometry.verticalFlip ? -1 : 1);
  double centreX = span(2 * crop.left + crop.width, width) - 1;
  double centreY = span(2 * crop.top + crop.height, height) - 1;
  double angle = geometry.rotation * std::numbers::pi / 180;
  double cosine = std::cos(angle), sine = std::sin(angle);
  double aspect = span(outputWidth, outputHeight);
  auto single = [](double value) { return static_cast<float>(value); };
  return {single(scaleX * cosine),         single(-scaleX * sine / aspect), single(centreX),
          single(scaleY * sine * aspect),  single(scaleY * cosine),         single(centreY)};
}

at::Tensor resample(const at::Tensor& images, const at::Tensor& maps, int64_t height, int64_t width) {
  // at::affine_grid_generator multiplies matrices for this and takes longer than the sampling itself.
  auto centres = [&](int64_t count) {
    return at::arange(1, 2 * count, 2, maps.options().dtype(at::kDouble)).div_(count).sub_(1).to(at::kFloat);
  };
  int64_t n = images.size(0);
  auto x = centres(width).view({1, 1, width}), y = centres(height).view({1, height, 1});
  auto grid = at::empty({n, height, width, 2}, maps.options());
  for (int64_t row = 0; row < 2; row++) {
    auto part = [&](int64_t column) { return maps.select(1, row).select(1, column).view({n, 1, 1}); };
    auto coordinates = grid.select(3, row);
    at::add_out(coordinates, part(0) * x, part(1) * y + part(2));
  }
  constexpr int64_t bilinear = 0, reflection = 2;
  return at::grid_sampler(images, grid, bilinear, reflection, /*align_corners=*/false);
}

void adjustBrightness(at::Tensor& images, const at::Tensor& factors) { images.mul_(factors).clamp_(0, 1); }

void adjustContrast(at::Tensor& images, const at::Tensor& factors) {
  blend(images, greyOf(images).mean({1, 2, 3}, /*keepdim=*/true), factors);
}

void adjustSaturation(at::Tensor& images, const at::Tensor& factors) { blend(images, greyOf(images), factors); }

// HSV with the hue in sixths of a turn; back to RGB by v - v s max(0, min(k, 4 - k, 1)), k = (n + hue) mod 6.
void adjustHue(at::Tensor& images, const at::Tensor& shifts) {
  auto red = images.narrow(1, 0, 1), green = images.narrow(1, 1, 1), blue = images.narrow(1, 2, 1);
  auto value = images.amax(1, /*keepdim=*/true);
  auto chroma = value - images.amin(1, /*keepdim=*/true);
  auto divisor = at::where(chroma == 0, 1.0, chroma);
  auto sixths = at::where(value == red, (green - blue) / divisor,
                          at::where(value == green, (blue - red) / divisor + 2, (red - green) / divisor + 4));
  sixths.add_(shifts * 6);
  constexpr std::array<double, 3> offsets{5, 3, 1};
  for (int64_t c = 0; c < 3; c++) {
    auto k = (sixths + offsets[c]).remainder_(6);
    auto share = at::minimum(k, 4 - k).clamp_(0, 1);
    images.narrow(1, c, 1).copy_(value - chroma * share);
  }
}

}  // namespace torchgraft
