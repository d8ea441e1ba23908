// Convolutions of 8-bit numbers, in the place of a frozen graph's float32 ones.
#pragma once

#include <memory>
#include <vector>

#include "torch.h"

namespace torchgraft {

// Post-training static quantisation (Jacob et al. 2018): weights of 8 bits, symmetric, a scale for each output channel;
// activations of 8 bits, a scale and a zero point for each value, from calibration. Convolutions with their relu or relu6,
// sums, max-pooling and concatenations between them stay in 8 bits; everything else is float32. The weights become
// inputs behind the graph's own: see pack().
class QuantisedConvolutions {
 public:
  // Rewrites the graph. samples: inputs as forward takes them, whose first dimension is the batch.
  QuantisedConvolutions(const std::shared_ptr<torch::jit::Graph>& graph, const std::vector<at::Tensor>& samples);

  // False where the graph has no convolution of constant weights.
  bool any() const { return !weights_.empty(); }

  // The weights as an engine wants them.
  std::vector<c10::IValue> pack(at::QEngine engine) const;

 private:
  struct Weight {
    at::Tensor value;
    std::optional<at::Tensor> bias;
    std::vector<int64_t> stride, padding, dilation;
    int64_t groups;
  };
  std::vector<Weight> weights_;
};

// Engines of this libtorch that are worth a trial.
std::vector<at::QEngine> quantisedEngines();
std::string engineName(at::QEngine engine);

}  // namespace torchgraft
