#include "group_loss.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "failure.h"

namespace torchgraft {

namespace {

void checkLength(const char* name, const at::Tensor& values, const at::Tensor& losses) {
  if (values.numel() == losses.numel()) return;
  throw Failure("SHAPE_MISMATCH", "step: `" + std::string(name) + "` has " + std::to_string(values.numel()) + " values for " +
                                      std::to_string(losses.numel()) + " samples. Give one for each.");
}

at::Tensor weightedMean(const at::Tensor& losses, const at::Tensor& weights) {
  checkLength("weights", weights, losses);
  const double sum = weights.sum(at::kDouble).item<double>();
  if (!std::isfinite(sum) || !(sum > 0) || weights.lt(0).any().item<bool>()) {
    throw Failure("INVALID_VALUE", "step: `weights` must be finite, 0 or more, and not all 0.");
  }
  const at::Tensor here = weights.to(losses.device(), losses.scalar_type());
  return (losses * here).sum() / here.sum();
}

// q_g exp(stepSize l_g), made to sum to 1; exp of differences to the largest, which cannot overflow.
std::vector<double> raised(const std::vector<double>& q, const at::Tensor& losses, double stepSize) {
  const at::Tensor scaled = losses.detach().to(at::kCPU, at::kDouble).mul(stepSize).contiguous();
  const double* exponents = scaled.const_data_ptr<double>();
  const double largest = *std::max_element(exponents, exponents + q.size());
  std::vector<double> next(q.size());
  for (size_t g = 0; g < q.size(); ++g) next[g] = q[g] * std::exp(exponents[g] - largest);
  const double sum = std::accumulate(next.begin(), next.end(), 0.0);
  for (double& value : next) value /= sum;
  return next;
}

}  // namespace

GroupLoss::GroupLoss(GroupLossOptions options) : options_(options) {
  if (options_.groups > 0) q_.assign(options_.groups, 1.0 / static_cast<double>(options_.groups));
  next_ = q_;
}

void GroupLoss::check(const at::Tensor& weights, const at::Tensor& groups) const {
  if (options_.groups > 0 && !groups.defined()) {
    throw Failure("INVALID_TYPE", "step: training was configured with `groupDro`, which needs `groups`, one index for each sample.");
  }
  if (options_.groups == 0 && groups.defined()) {
    throw Failure("INVALID_VALUE", "step: `groups` came, but training was configured without `groupDro`.");
  }
  if (groups.defined() && weights.defined()) {
    throw Failure("INVALID_VALUE", "step: `groups` and `weights` do not go together: GroupDRO weighs samples by itself.");
  }
}

at::Tensor GroupLoss::mean(const at::Tensor& losses, const at::Tensor& weights, const at::Tensor& groups) {
  return groups.defined() ? robust(losses, groups) : weightedMean(losses, weights);
}

at::Tensor GroupLoss::robust(const at::Tensor& losses, const at::Tensor& groups) {
  checkLength("groups", groups, losses);
  const auto low = groups.min().item<int64_t>();
  const auto high = groups.max().item<int64_t>();
  if (low < 0 || high >= options_.groups) {
    throw Failure("INVALID_VALUE", "step: `groups` has " + std::to_string(low < 0 ? low : high) + "; there are " +
                                       std::to_string(options_.groups) + " groups, from 0.");
  }
  const at::Tensor indices = groups.to(losses.device(), at::kLong);
  const at::Tensor none = at::zeros({options_.groups}, losses.options().requires_grad(false));
  const at::Tensor counts = none.index_add(0, indices, at::ones_like(losses.detach()));
  const at::Tensor means = none.index_add(0, indices, losses) / counts.clamp_min(1);
  next_ = raised(q_, means, options_.stepSize);
  return (means * at::tensor(next_, at::kDouble).to(losses.device(), losses.scalar_type())).sum();
}

at::Tensor GroupLoss::state() const { return at::tensor(q_, at::kDouble); }

bool GroupLoss::fits(const at::Tensor& state) const {
  return state.scalar_type() == at::kDouble && state.dim() == 1 && state.numel() == options_.groups &&
         at::isfinite(state).all().item<bool>() && state.ge(0).all().item<bool>();
}

void GroupLoss::restore(const at::Tensor& state) {
  const at::Tensor values = state.to(at::kCPU).contiguous();
  q_.assign(values.const_data_ptr<double>(), values.const_data_ptr<double>() + values.numel());
  next_ = q_;
}

}  // namespace torchgraft
