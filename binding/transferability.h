// How well features suit a task, told without training: LogME, H-score, and ridge regression in closed form. No Node-API
// here. Features are float32 [n, d] on the CPU; everything is computed in float64, tall ones through [d, d], wide ones
// through [n, n], so that the smaller side decides what it costs: rows * min(n, d)^2 for the products, about
// 10 min(n, d)^3 for the eigenvectors.
#pragma once

#include <vector>

#include "torch.h"

namespace torchgraft {

// The evidence of a Bayesian linear model of the features for each class against the rest, per sample, at the best
// precisions of prior and noise, mean over the classes. You et al., LogME: Practical Assessment of Pre-trained Models
// for Transfer Learning, ICML 2021; the precisions are found by the fixed-point iteration of Ranking and Tuning
// Pre-trained Models, JMLR 2022. labels: int64 [n], 0 to classes - 1. Throws Failure("INVALID_VALUE") for a feature that
// is not finite, and so do all here.
double logME(const at::Tensor& features, const at::Tensor& labels, int64_t classes);

// tr(cov(f)^-1 cov(E[f | y])): 0 to classes - 1. Bao et al., An Information-Theoretic Approach to Transferability in Task
// Transfer Learning, ICIP 2019. Directions in which the features do not vary have no part in it. With `shrinkage` the
// covariance is that of Ledoit and Wolf, and the score as much smaller: Ibrahim et al., Newer is not always better, 2021.
double hScore(const at::Tensor& features, const at::Tensor& labels, int64_t classes, bool shrinkage);

struct RidgeSolution {
  // float32 [c, d] and [c].
  at::Tensor weight;
  at::Tensor bias;
};

// For each lambda the least |Y - X W' - b|^2 + lambda |W|^2; b is not punished. targets: float64 [n, c]. With lambda 0 the
// smallest of the best.
std::vector<RidgeSolution> ridge(const at::Tensor& features, const at::Tensor& targets, const std::vector<double>& lambdas);

}  // namespace torchgraft
