// What a training session computes how: the cut, precision, and proof that it equals the model as it was loaded.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "torch.h"

namespace torchgraft {

struct PlanRequest {
  // Empty: bfloat16 where the device has it natively, it proves equal, and what is frozen has arithmetic enough; else float32.
  std::optional<at::ScalarType> precision;
  // False runs the model unsplit.
  bool split = true;
};

// A crossing value of one sample, without the batch dimension.
struct Crossing {
  std::vector<int64_t> shape;
  std::string dtype;
};

// One way of computing that was tried, on the example batch.
struct PlanTrial {
  // 'fused', 'folded', 'exact' or 'unsplit'.
  std::string variant;
  std::string precision;
  // Forward and backward of the last run, milliseconds; for people, nothing is chosen by it.
  double milliseconds = 0;
  // Deviation from the unsplit model in float32, as Verdict has it; not a number where it failed.
  double outputDifference = 0;
  double gradientDifference = 0;
  bool accepted = false;
  // Why not accepted: what deviates, or libtorch's words where it could not be built or run.
  std::string failure;
};

struct PlanReport {
  // Proven in an earlier run, of a model with the same planKey().
  bool remembered = false;
  bool split = false;
  // Why the model runs unsplit, or whole: empty when it is split.
  std::string reason;
  std::string variant = "unsplit";
  std::string precision = "float32";
  std::string precisionReason;
  std::vector<std::string> prefixLayers;
  std::vector<std::string> suffixLayers;
  std::vector<Crossing> crossings;
  // Each sample's crossing values depend on that sample alone and are tensors: they can be kept.
  bool cacheable = false;
  // Of one sample's forward: convolutions and matrix products.
  int64_t prefixFlops = 0;
  int64_t totalFlops = 0;
  // Equal for equal prefixes, 32 hexadecimal digits; '' without one.
  std::string key;
  std::vector<PlanTrial> trials;
};

// What an earlier plan came to.
struct KnownPlan {
  std::string variant;
  at::ScalarType precision = at::kFloat;
  std::vector<Crossing> crossings;
  bool cacheable = false;
};

// Largest deviation relative to the reference's largest value; not a number where shapes differ.
double relativeDifference(const at::Tensor& value, const at::Tensor& reference);
// Up to which a compiled model's outputs count as the model's own when it serves.
double outputBound(at::ScalarType precision);
// For a trial: forward may write into what it is given.
std::vector<at::Tensor> copiesOf(const std::vector<at::Tensor>& tensors);
std::vector<c10::IValue> copiesOf(const std::vector<c10::IValue>& values);

}  // namespace torchgraft
