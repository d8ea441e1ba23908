#include "calibrate.h"

#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "compile.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;

// All values of a pass are in memory at once.
constexpr int64_t kSamplesAPass = 4;
// Elements of one value that are kept of a pass.
constexpr int64_t kKept = 1 << 15;
constexpr int64_t kLargest = 255;
// Ranges that are tried: from the whole one down to a third of it.
constexpr int kTries = 17;

class Seen {
 public:
  void add(const at::Tensor& value) {
    const at::Tensor flat = value.to(at::kFloat).reshape(-1);
    if (flat.numel() == 0) return;
    lowest_ = std::min(lowest_, flat.min().item<double>());
    highest_ = std::max(highest_, flat.max().item<double>());
    // Odd, so that it does not go with the number of channels or columns.
    const int64_t step = (flat.numel() / kKept) | 1;
    kept_.push_back(flat.slice(0, 0, flat.numel(), step).clone());
  }

  Range best() const {
    Range best;
    if (kept_.empty()) return best;
    const at::Tensor sample = at::cat(kept_);
    double least = std::numeric_limits<double>::infinity();
    for (int i = 0; i < kTries; ++i) {
      const double share = 1 - i / 24.0;
      const Range range = between(lowest_ * share, highest_ * share);
      const at::Tensor rounded = at::fake_quantize_per_tensor_affine(sample, range.scale, range.zeroPoint, 0, kLargest);
      const double error = at::mse_loss(rounded, sample).item<double>();
      if (error >= least) continue;
      least = error;
      best = range;
    }
    return best;
  }

 private:
  static Range between(double low, double high) {
    const double scale = (high - low) / kLargest;
    // Nothing but zeros, or numbers that float32 cannot divide by.
    if (!(scale > std::numeric_limits<float>::min())) return {};
    return {scale, std::clamp<int64_t>(std::llround(-low / scale), 0, kLargest)};
  }

  double lowest_ = 0;
  double highest_ = 0;
  std::vector<at::Tensor> kept_;
};

// A copy of the graph whose outputs are these values.
std::shared_ptr<jit::Graph> probeOf(jit::Graph& graph, const std::vector<jit::Value*>& values) {
  const size_t own = graph.outputs().size();
  for (jit::Value* value : values) graph.registerOutput(value);
  auto probe = graph.copy();
  while (graph.outputs().size() > own) graph.eraseOutput(own);
  for (size_t i = 0; i < own; ++i) probe->eraseOutput(0);
  jit::EliminateDeadCode(probe);
  return probe;
}

}  // namespace

std::vector<Range> calibrate(const std::shared_ptr<jit::Graph>& graph, const std::vector<jit::Value*>& values,
                             const std::vector<at::Tensor>& inputs) {
  torch::NoGradGuard guard;
  const jit::Code code(probeOf(*graph, values), "calibrate");
  std::vector<Seen> seen(values.size());
  const int64_t count = inputs.at(0).size(0);
  for (int64_t from = 0; from < count; from += kSamplesAPass) {
    std::vector<c10::IValue> part;
    for (const at::Tensor& input : inputs) part.emplace_back(input.narrow(0, from, std::min(kSamplesAPass, count - from)));
    const auto outputs = interpret(code, std::move(part));
    for (size_t i = 0; i < seen.size(); ++i) seen[i].add(outputs.at(i).toTensor());
  }
  std::vector<Range> ranges;
  for (const Seen& value : seen) ranges.push_back(value.best());
  return ranges;
}

}  // namespace torchgraft
