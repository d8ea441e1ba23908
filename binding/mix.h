// Mixup (Zhang et al. 2018) and cutmix (Yun et al. 2019), as timm mixes batches: one decision for the batch, each image
// with the one opposite when the batch is turned round.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

#include "crop_box.h"

namespace torchgraft {

/// alpha of the Beta distribution that the shares are drawn from; 0 is off. With both, each batch has one of them, at even odds.
struct MixOptions {
  double mixup = 0;
  double cutmix = 0;

  bool any() const { return mixup > 0 || cutmix > 0; }
};

/// share: what each image keeps of itself. box: what cutmix takes from the other one; none for mixup.
struct Mix {
  double share = 1;
  std::optional<CropBox> box;
};

/// A pure function of seed, epoch and the batch's sample indices (int32 or int64 [n], on the CPU). Images have height x width
/// pixels; cutmix's share is that of the real box, which the border may have cut.
Mix drawMix(const MixOptions& options, const at::Tensor& indices, uint64_t seed, uint64_t epoch, int64_t height, int64_t width);

/// images: float [n, 3, h, w], in place.
void mixImages(at::Tensor& images, const Mix& mix);

/// labels: class indices [n] on the CPU. Returns float32 [n, classes] on the CPU, rows of sum 1. Throws SHAPE_MISMATCH.
at::Tensor mixedTarget(const at::Tensor& labels, int64_t classes, const Mix& mix);

/// The label of the image that gave each mixed one its larger share, [n].
at::Tensor dominantLabels(const at::Tensor& labels, const Mix& mix);

}  // namespace torchgraft
