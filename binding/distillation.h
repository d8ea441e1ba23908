// Learning without forgetting: the source's head on the current features is held to what the source says of the batch.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "source.h"

namespace torchgraft {

struct DistillationOptions {
  // 0 for none.
  double weight = 0;
  double temperature = 2;
  // The layer that joinSourceHead() was called for, and how many of its outputs are the new head's.
  std::string layer;
  int64_t classes = 0;
};

// Li and Hoiem, Learning without forgetting, 2016. The source's logits are not recorded: they are computed for the very
// batch, augmented as it is, by the same forward with the source's weights in place. Kept features serve both.
class Distillation {
 public:
  Distillation(Model& model, std::shared_ptr<const Source> source, DistillationOptions options, const std::unordered_set<std::string>& fresh);

  // Logits of the new head alone.
  at::Tensor task(const at::Tensor& output) const { return output.narrow(1, 0, options_.classes); }
  // What the source says, [n, outputs of its head]: `forward` in eval mode with the source's weights and statistics.
  at::Tensor teach(const std::function<at::Tensor()>& forward) const;
  // weight times the mean of KL(softmax(taught / T) || softmax(output / T)). The paper's cross-entropy has the same
  // gradient; this is 0 where nothing is forgotten.
  at::Tensor loss(const at::Tensor& output, const at::Tensor& taught) const;
  // The source's head is no part of what learns: its gradients become 0 ...
  void release() const;
  // ... and its weights, which weight decay may have moved, those of the source.
  void restore() const;
  // Parameters of the joint layer, and how many of their rows are the new head's.
  std::unordered_map<std::string, int64_t> rows() const;

 private:
  struct Moved {
    at::Tensor here;
    at::Tensor source;
  };
  Model& model_;
  std::shared_ptr<const Source> source_;
  DistillationOptions options_;
  // All that differs from the source once something has learned.
  std::vector<Moved> trunk_;
  // Weight and bias of the joint layer.
  std::vector<Moved> head_;
};

}  // namespace torchgraft
