// A model that only predicts: the whole of forward frozen and compiled.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "compile.h"
#include "model.h"

namespace torchgraft {

struct ServingReport {
  std::string precision;
  // 'fused', 'folded' or 'exact' with its memory layout, for a person.
  std::string layout;
  // Largest deviation of the logits from the model's own in float32, relative to the largest.
  double difference = 0;
  // Of the example batch.
  double seconds = 0;
  // Likewise, in float32, where 8-bit convolutions were asked for.
  double float32Seconds = 0;
};

class Serving {
 public:
  // The model must outlive its serving.
  // Tries ways of compiling on the example, whose first dimension is the batch, and keeps the fastest of those that
  // give the model's own logits within outputBound(precision). precision: empty to choose by the trial too.
  // Throws Failure("MODEL_FAILED") when the model cannot be frozen or no way gives equal logits.
  // samples: images for 8-bit convolutions, whose ranges they give; they are taken whatever they cost, which the report
  // tells. Throws Failure("INVALID_VALUE") when there is none in the model or libtorch.
  Serving(Model& model, const std::vector<at::Tensor>& example, std::optional<at::ScalarType> precision,
          const std::vector<at::Tensor>& samples = {});

  // The main output, where forward's graph tells which it is; else what forward returns.
  c10::IValue run(const std::vector<at::Tensor>& inputs) const;
  const ServingReport& report() const { return report_; }

 private:
  void useEightBits(const Model& model, const std::shared_ptr<torch::jit::Graph>& graph, const std::vector<at::Tensor>& example, const std::vector<at::Tensor>& samples,
                    const at::Tensor& reference);

  Model* model_;
  std::unique_ptr<Compiled> compiled_;
  ServingReport report_;
};

}  // namespace torchgraft
