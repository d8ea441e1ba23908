// What becomes of the losses of single samples: weighted means, and the worst group's loss (GroupDRO).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace torchgraft {

struct GroupLossOptions {
  /// Groups of GroupDRO; 0 for none.
  int64_t groups = 0;
  double stepSize = 0.01;
};

/// GroupDRO (Sagawa et al., Distributionally robust neural networks for group shifts, 2020): the loss is the sum of q_g
/// times the mean loss of group g, and each step multiplies q_g by exp(stepSize * that loss) and makes the sum 1 again.
/// A group that a batch lacks has the loss 0 there, as in the authors' code.
class GroupLoss {
 public:
  explicit GroupLoss(GroupLossOptions options);

  /// Throws INVALID_TYPE when a training batch lacks groups, INVALID_VALUE when it has them and they are not asked for, or
  /// come with weights.
  void check(const at::Tensor& weights, const at::Tensor& groups) const;

  /// losses [n], on any device; weights float [n] or groups int32 [n], on the CPU. A scalar: sum w l / sum w, or
  /// GroupDRO's with the q of this step, which keep() makes that of the next.
  /// Throws SHAPE_MISMATCH for another length, INVALID_VALUE for weights or groups out of range.
  at::Tensor mean(const at::Tensor& losses, const at::Tensor& weights, const at::Tensor& groups);
  void keep() { q_ = next_; }

  /// float64 [groups]: of a checkpoint.
  at::Tensor state() const;
  /// Whether a state is of as many groups, each finite and not negative.
  bool fits(const at::Tensor& state) const;
  void restore(const at::Tensor& state);

 private:
  at::Tensor robust(const at::Tensor& losses, const at::Tensor& groups);

  GroupLossOptions options_;
  std::vector<double> q_;
  std::vector<double> next_;
};

}  // namespace torchgraft
