#include "optimizer.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <tuple>
#include <unordered_set>

#include "failure.h"

namespace torchgraft {

namespace {

std::vector<std::string> namesOfState(const OptimizerOptions& options) {
  std::vector<std::string> names;
  switch (options.kind) {
    case OptimizerOptions::adam:
    case OptimizerOptions::adamw:
      return {"exp_avg", "exp_avg_sq", "step"};
    case OptimizerOptions::rmsprop:
      names = {"square_avg"};
      if (options.centered) names.push_back("grad_avg");
      break;
    case OptimizerOptions::sgd:
      break;
    case OptimizerOptions::lbfgs:
      return {};
  }
  if (options.momentum != 0) names.push_back("momentum_buffer");
  return names;
}

// Fused kernels walk parameter, gradient and state as flat memory: all must be dense and laid out alike.
at::Tensor laidOutLike(const at::Tensor& gradient, const at::Tensor& parameter) {
  auto dense = gradient.layout() == at::kStrided ? gradient : gradient.to_dense();
  if (dense.strides() == parameter.strides()) return dense;
  bool sameMemoryOrder = true;
  for (int64_t d = 0; d < parameter.dim(); d++)
    sameMemoryOrder &= parameter.size(d) == 1 || dense.stride(d) == parameter.stride(d);
  // Strides of dimensions of size 1 say nothing of memory, but the CUDA kernels compare them.
  if (sameMemoryOrder) return dense.as_strided(parameter.sizes(), parameter.strides());
  return at::empty_like(parameter).copy_(dense);
}

std::string text(at::IntArrayRef sizes) {
  std::string joined;
  for (auto size : sizes) joined += (joined.empty() ? "" : ", ") + std::to_string(size);
  return "[" + joined + "]";
}

[[noreturn]] void refuse(const std::string& what) {
  throw Failure("CHECKPOINT_INVALID", "The optimizer state " + what +
                                          " Resume with the model, optimizer and options the checkpoint was made with.");
}

}  // namespace

// Tensors of one group that one kernel call may take together: same device, same dtype, all at their first step or none.
struct Optimizer::Bucket {
  std::tuple<at::Device, at::ScalarType, bool> key;
  std::vector<at::Tensor> parameters;
  std::vector<at::Tensor> gradients;
  std::map<std::string, std::vector<at::Tensor>> state;
  // Parameters that are not dense in memory, and the dense copies that were stepped in their place.
  std::vector<std::pair<at::Tensor, at::Tensor>> scattered;
};

Optimizer::Optimizer(OptimizerOptions options, std::vector<Group> groups)
    : options_(options), stateNames_(namesOfState(options)) {
  std::unordered_set<const void*> seen;
  for (auto& group : groups) {
    StaticGroup kept{{}, group.learningRate, group.weightDecay};
    for (auto& [name, parameter] : group.parameters) {
      groupOf_.emplace(name, static_cast<int>(groups_.size()));
      if (seen.insert(parameter.unsafeGetTensorImpl()).second) kept.slots.push_back({name, parameter, {}});
    }
    groups_.push_back(std::move(kept));
  }
}

void Optimizer::step() {
  at::NoGradGuard noGrad;
  for (auto& group : groups_) {
    for (auto& bucket : gather(group)) {
      switch (options_.kind) {
        case OptimizerOptions::sgd:
          stepSgd(bucket, group);
          break;
        case OptimizerOptions::adam:
        case OptimizerOptions::adamw:
          stepAdam(bucket, group);
          break;
        case OptimizerOptions::rmsprop:
          stepRmsprop(bucket, group);
          break;
        case OptimizerOptions::lbfgs:
          throw Failure("NATIVE", "L-BFGS steps by Trainer::fit().");
      }
      for (auto& [parameter, dense] : bucket.scattered) parameter.copy_(dense);
    }
  }
}

std::vector<Optimizer::Bucket> Optimizer::gather(StaticGroup& group) const {
  std::vector<Bucket> buckets;
  for (auto& slot : group.slots) {
    const auto& gradient = slot.parameter.grad();
    if (!gradient.defined()) continue;
    bool dense = slot.parameter.is_non_overlapping_and_dense();
    auto parameter = dense ? slot.parameter : slot.parameter.contiguous();
    bool first = slot.state.empty() && !stateNames_.empty();
    if (first) prepareState(slot, parameter);
    std::tuple key{parameter.device(), parameter.scalar_type(), first};
    auto found = std::find_if(buckets.begin(), buckets.end(), [&](const Bucket& b) { return b.key == key; });
    auto& bucket = found == buckets.end() ? buckets.emplace_back(Bucket{key, {}, {}, {}, {}}) : *found;
    bucket.parameters.push_back(parameter);
    bucket.gradients.push_back(laidOutLike(gradient, parameter));
    for (auto& [name, tensor] : slot.state) {
      // A model may have been moved to another memory format since the last step.
      if (name != "step") tensor = laidOutLike(tensor, parameter);
      bucket.state[name].push_back(tensor);
    }
    if (!dense) bucket.scattered.emplace_back(slot.parameter, parameter);
  }
  return buckets;
}

void Optimizer::prepareState(Slot& slot, const at::Tensor& like) const {
  for (const auto& name : stateNames_) {
    // The fused kernels want the step count as a float32 scalar beside the parameter.
    slot.state[name] = name == "step" ? at::zeros({}, like.options().dtype(at::kFloat))
                                      : at::zeros_like(like, like.options().memory_format(at::MemoryFormat::Preserve));
  }
}

void Optimizer::stepSgd(Bucket& bucket, const StaticGroup& group) const {
  bool firstStep = std::get<bool>(bucket.key);  // the buffer starts as the gradient itself, without dampening
  at::_fused_sgd_(bucket.parameters, bucket.gradients, bucket.state["momentum_buffer"], group.weightDecay,
                  options_.momentum, group.learningRate, options_.dampening, options_.nesterov, /*maximize=*/false,
                  firstStep);
}

void Optimizer::stepAdam(Bucket& bucket, const StaticGroup& group) const {
  auto& steps = bucket.state["step"];
  at::_foreach_add_(steps, 1);
  auto update = [&](auto kernel) {
    kernel(bucket.parameters, bucket.gradients, bucket.state["exp_avg"], bucket.state["exp_avg_sq"], at::TensorList{},
           steps, group.learningRate, options_.beta1, options_.beta2, group.weightDecay, options_.epsilon,
           /*amsgrad=*/false, /*maximize=*/false);
  };
  if (options_.kind == OptimizerOptions::adam)
    update([](auto&&... arguments) { at::_fused_adam_(arguments...); });
  else
    update([](auto&&... arguments) { at::_fused_adamw_(arguments...); });
}

void Optimizer::stepRmsprop(Bucket& bucket, const StaticGroup& group) const {
  auto& parameters = bucket.parameters;
  auto& squares = bucket.state["square_avg"];
  auto gradients = group.weightDecay == 0
                       ? bucket.gradients
                       : at::_foreach_add(bucket.gradients, parameters, group.weightDecay);
  at::_foreach_mul_(squares, options_.alpha);
  at::_foreach_addcmul_(squares, gradients, gradients, 1 - options_.alpha);
  std::vector<at::Tensor> average;
  if (options_.centered) {
    auto& means = bucket.state["grad_avg"];
    at::_foreach_lerp_(means, gradients, 1 - options_.alpha);
    average = at::_foreach_addcmul(squares, means, means, -1);
    at::_foreach_sqrt_(average);
  } else {
    average = at::_foreach_sqrt(squares);
  }
  at::_foreach_add_(average, options_.epsilon);
  if (options_.momentum != 0) {
    auto& buffers = bucket.state["momentum_buffer"];
    at::_foreach_mul_(buffers, options_.momentum);
    at::_foreach_addcdiv_(buffers, gradients, average, 1);
    at::_foreach_add_(parameters, buffers, -group.learningRate);
  } else {
    at::_foreach_addcdiv_(parameters, gradients, average, -group.learningRate);
  }
}

std::vector<Group> Optimizer::learning() const {
  std::vector<Group> groups;
  for (const auto& group : groups_) {
    Group learns{{}, group.learningRate, group.weightDecay};
    for (const auto& slot : group.slots)
      if (slot.parameter.requires_grad()) learns.parameters.emplace_back(slot.name, slot.parameter);
    if (!learns.parameters.empty()) groups.push_back(std::move(learns));
  }
  return groups;
}

void Optimizer::setLearningRates(const std::vector<double>& rates) {
  if (rates.size() != groups_.size())
    throw Failure("SHAPE_MISMATCH", "`learningRates` has " + std::to_string(rates.size()) +
                                        " entries, but training was configured with " +
                                        std::to_string(groups_.size()) + " parameter groups.");
  for (size_t i = 0; i < rates.size(); i++) groups_[i].learningRate = rates[i];
}

void Optimizer::zeroGrad() {
  for (auto& group : groups_)
    for (auto& slot : group.slots) slot.parameter.mutable_grad() = at::Tensor();
}

std::vector<at::Tensor> Optimizer::gradients() const {
  std::vector<at::Tensor> all;
  for (const auto& group : groups_)
    for (const auto& slot : group.slots)
      if (slot.parameter.grad().defined()) all.push_back(slot.parameter.grad());
  return all;
}

double Optimizer::gradientNorm() const {
  at::NoGradGuard noGrad;
  auto all = gradients();
  if (all.empty()) return 0;
  return at::linalg_vector_norm(at::stack(at::_foreach_norm(all, 2))).item<double>();
}

void Optimizer::clip(double maxNorm, double norm) {
  double factor = maxNorm / (norm + 1e-6);
  if (!(factor >= 1)) scaleGradients(factor);  // a NaN norm spreads, as in PyTorch
}

void Optimizer::scaleGradients(double factor) {
  at::NoGradGuard noGrad;
  auto all = gradients();
  if (!all.empty()) at::_foreach_mul_(all, factor);
}

int Optimizer::groupOf(const std::string& name) const {
  auto found = groupOf_.find(name);
  return found == groupOf_.end() ? -1 : found->second;
}

c10::IValue Optimizer::state() const {
  c10::Dict<std::string, c10::Dict<std::string, at::Tensor>> all;
  for (const auto& group : groups_) {
    for (const auto& slot : group.slots) {
      if (slot.state.empty()) continue;
      c10::Dict<std::string, at::Tensor> entry;
      for (const auto& [name, tensor] : slot.state) entry.insert(name, tensor);
      all.insert(slot.name, entry);
    }
  }
  return all;
}

void Optimizer::loadState(const c10::IValue& value) {
  if (!value.isGenericDict()) refuse("is not a dict.");
  std::unordered_map<std::string, c10::IValue> saved;
  for (const auto& entry : value.toGenericDict()) {
    if (!entry.key().isString()) refuse("has a key that is not a parameter's name.");
    saved.emplace(entry.key().toStringRef(), entry.value());
  }
  std::vector<std::pair<Slot*, State>> loaded;
  for (auto& group : groups_) {
    for (auto& slot : group.slots) {
      auto found = saved.find(slot.name);
      loaded.emplace_back(&slot, found == saved.end() ? State{} : checkedState(slot, found->second));
      if (found != saved.end()) saved.erase(found);
    }
  }
  if (!saved.empty()) refuse("names `" + saved.begin()->first + "`, which is not among the parameters of this training.");
  for (auto& [slot, state] : loaded) slot->state = std::move(state);
}

Optimizer::State Optimizer::checkedState(const Slot& slot, const c10::IValue& value) const {
  if (!value.isGenericDict()) refuse("of `" + slot.name + "` is not a dict.");
  auto entries = value.toGenericDict();
  if (entries.size() != stateNames_.size()) refuse("of `" + slot.name + "` was made by another optimizer.");
  State state;
  for (const auto& name : stateNames_) {
    auto found = entries.find(name);
    if (found == entries.end()) refuse("of `" + slot.name + "` has no " + name + ": it was made by another optimizer.");
    if (!found->value().isTensor() || !found->value().toTensor().defined())
      refuse("of `" + slot.name + "`: " + name + " is not a tensor.");
    auto tensor = found->value().toTensor();
    bool counts = name == "step";
    auto sizes = counts ? at::IntArrayRef{} : slot.parameter.sizes();
    auto dtype = counts ? at::kFloat : slot.parameter.scalar_type();
    if (tensor.sizes() != sizes || tensor.scalar_type() != dtype)
      refuse("of `" + slot.name + "`: " + name + " is " + c10::toString(tensor.scalar_type()) + text(tensor.sizes()) +
             ", expected " + c10::toString(dtype) + text(sizes) + ".");
    // A copy, so that the checkpoint's own tensor never changes; step() lays it out as the parameter.
    state[name] = tensor.to(slot.parameter.options().dtype(dtype), /*non_blocking=*/false, /*copy=*/true);
  }
  return state;
}

}  // namespace torchgraft
