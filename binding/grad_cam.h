// Which places of an image speak for a class: Grad-CAM.
#pragma once

#include <cstdint>
#include <vector>

#include "model.h"

namespace torchgraft {

struct GradCam {
  // [n, h, w], float32 on the CPU: the sides of the last map of features; each sample's largest value is 1, or all are 0.
  at::Tensor maps;
  // The class that each map is of.
  std::vector<int64_t> classes;
  // [n, classes], float32 on the CPU.
  at::Tensor logits;
};

// Grad-CAM (Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization"): of the
// last map A [k, h, w] before the head and the logit y of a class,
//   alpha_k = mean over places of dy / dA_k,   map = relu(sum_k alpha_k A_k),
// here divided by its largest value. A is what is pooled before the head; where the head is a convolution of a map that is
// pooled after it, as in SqueezeNet, A is what that convolution takes, for what it gives are the classes themselves.
//
// inputs: of forward, on the model's device. classes: one for each sample; empty for those of the largest logit.
// Computed in eval mode on a copy of forward's graph: parameters, their gradients, buffers, modes and random numbers stay as
// they are. Throws Failure("NO_HEAD") where there is no such map, MODEL_FROZEN without parameters, MODEL_FAILED where forward or
// the gradient fails or is not finite, SHAPE_MISMATCH and INVALID_VALUE for classes that do not fit.
GradCam gradCam(Model& model, const std::vector<at::Tensor>& inputs, std::vector<int64_t> classes);

}  // namespace torchgraft
