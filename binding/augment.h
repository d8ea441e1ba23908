// uint8 images on the device -> the model's float input, with or without augmentation.
// Augmentation is a pure function of (seed, epoch, sample index): threads and batches do not change a bit of it.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <optional>

#include "crop_box.h"
#include "erase.h"
#include "mix.h"
#include "rand_augment.h"
#include "random.h"

namespace torchgraft {

/// mean and std of each channel, in units of 0..1; height and width the model receives, pixels.
struct Preprocess {
  std::array<double, 3> mean;
  std::array<double, 3> std;
  int64_t height;
  int64_t width;
};

/// Share of the area kept, and width / height of the crop: [low, high] each.
struct CropRange {
  std::array<double, 2> scale;
  std::array<double, 2> ratio;
};

/// Flips are probabilities; rotation is uniform in [-rotation, rotation] degrees. Jitter factors are uniform in
/// [max(0, 1 - x), 1 + x], the hue shift in [-hue, hue] turns: torchvision.transforms.ColorJitter. `mix` is of whole batches: augment()
/// leaves it to those who have the labels too.
struct AugmentOptions {
  std::optional<CropRange> crop;
  double horizontalFlip = 0;
  double verticalFlip = 0;
  double rotation = 0;
  double brightness = 0;
  double contrast = 0;
  double saturation = 0;
  double hue = 0;
  std::optional<RandAugmentOptions> randAugment;
  std::optional<ErasingOptions> erasing;
  MixOptions mix;
};

/// What one sample's random numbers decided. crop: pixels of the original; rotation in degrees, counter-clockwise.
struct Geometry {
  CropBox crop;
  bool horizontalFlip;
  bool verticalFlip;
  double rotation;
};

/// pixels: uint8 [n, height, width, 3]. Returns float32 [n, 3, height, width], channels-last: (pixels / 255 - mean) / std.
/// Throws SHAPE_MISMATCH when the pixels have another size.
at::Tensor preprocess(const at::Tensor& pixels, const Preprocess& options);

/// pixels: uint8 [n, h, w, 3], each the whole original image squashed to h x w. sizes: int32 [n, 2] on the CPU, original
/// width and height; needed with `crop`, otherwise ignored and may be undefined. indices: int32 or int64 [n] on the CPU.
/// Crop, flips and rotation (about the centre of the crop, in output pixels, after crop and flips as in a torchvision
/// pipeline of RandomResizedCrop, flips, RandomRotation) are one affine map and one bilinear sampling, mirrored at the
/// borders; then RandAugment on whole grey levels; then brightness, contrast, saturation, hue in this order, then
/// normalisation and random erasing. Without `crop` the whole
/// canvas is the crop; without rotation too, and with h x w the model's size, nothing is resampled.
/// Returns float32 [n, 3, height, width], channels-last. Throws SHAPE_MISMATCH.
at::Tensor augment(const at::Tensor& pixels, const at::Tensor& sizes, const at::Tensor& indices, uint64_t seed,
                   uint64_t epoch, const Preprocess& preprocess, const AugmentOptions& options);

/// The box of torchvision's RandomResizedCrop.get_params: ten tries, then the largest central box within `ratio`.
CropBox sampleCrop(int64_t width, int64_t height, const CropRange& range, const Random& random);

/// Rows of the map from output to input coordinates, both in [-1, 1] (align_corners false), for an original of
/// width x height and an output of outputWidth x outputHeight pixels.
std::array<float, 6> affineMap(const Geometry& geometry, int64_t width, int64_t height, int64_t outputWidth,
                               int64_t outputHeight);

/// images: float [n, 3, h, w], any strides; maps: float [n, 2, 3]. Returns float [n, 3, height, width].
at::Tensor resample(const at::Tensor& images, const at::Tensor& maps, int64_t height, int64_t width);

/// torchvision.transforms.functional on float images [n, 3, h, w] of 0..1, in place; factors [n, 1, 1, 1], hue in turns.
void adjustBrightness(at::Tensor& images, const at::Tensor& factors);
void adjustContrast(at::Tensor& images, const at::Tensor& factors);
void adjustSaturation(at::Tensor& images, const at::Tensor& factors);
void adjustHue(at::Tensor& images, const at::Tensor& shifts);

}  // namespace torchgraft
