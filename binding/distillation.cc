#include "distillation.h"

#include "failure.h"

namespace torchgraft {

namespace {

// The source's values are the model's while it lives.
class Swapped {
 public:
  explicit Swapped(const std::vector<std::pair<at::Tensor, at::Tensor>>& pairs) {
    for (const auto& [here, source] : pairs) {
      held_.emplace_back(here, here.detach());
      at::Tensor(here).set_data(source);
    }
  }
  ~Swapped() {
    for (auto& [here, own] : held_) here.set_data(own);
  }
  Swapped(const Swapped&) = delete;
  Swapped& operator=(const Swapped&) = delete;

 private:
  std::vector<std::pair<at::Tensor, at::Tensor>> held_;
};

}  // namespace

Distillation::Distillation(Model& model, std::shared_ptr<const Source> source, DistillationOptions options, const std::unordered_set<std::string>& fresh)
    : model_(model), source_(std::move(source)), options_(std::move(options)) {
  const auto joint = rows();
  NamedTensors all = model_.parameters();
  for (auto& buffer : model_.buffers()) all.push_back(std::move(buffer));
  for (const auto& [name, tensor] : all) {
    const auto part = joint.find(name);
    if (part != joint.end()) {
      const at::Tensor& old = source_->at(name);
      if (tensor.size(0) != part->second + old.size(0)) {
        throw Failure("INVALID_VALUE", "configure: '" + options_.layer + "' has " + std::to_string(tensor.size(0)) + " outputs, not " +
                                           std::to_string(part->second) + " and the source's " + std::to_string(old.size(0)) + ". Call joinSourceHead() first.");
      }
      head_.push_back({tensor, old});
      continue;
    }
    const at::Tensor old = fresh.count(name) ? at::Tensor() : source_->like(name, tensor);
    if (old.defined()) trunk_.push_back({tensor, old});
  }
  if (head_.empty()) throw Failure("INVALID_VALUE", "configure: the model has no layer '" + options_.layer + "' with a weight.");
}

std::unordered_map<std::string, int64_t> Distillation::rows() const {
  return {{options_.layer + ".weight", options_.classes}, {options_.layer + ".bias", options_.classes}};
}

at::Tensor Distillation::teach(const std::function<at::Tensor()>& forward) const {
  at::NoGradGuard guard;
  std::vector<std::pair<at::Tensor, at::Tensor>> pairs;
  for (const Moved& moved : trunk_) pairs.emplace_back(moved.here, moved.source);
  model_.setTraining(false);
  // A model that was traced in train mode writes into its buffers in eval mode too: into neither's.
  const std::vector<Statistic> own = model_.copyStatistics();
  at::Tensor output;
  {
    const Swapped swapped(pairs);
    const std::vector<Statistic> theirs = model_.copyStatistics();
    output = forward();
    model_.restoreStatistics(theirs);
  }
  model_.restoreStatistics(own);
  return output.narrow(1, options_.classes, output.size(1) - options_.classes).to(at::kFloat).clone();
}

at::Tensor Distillation::loss(const at::Tensor& output, const at::Tensor& taught) const {
  const double temperature = options_.temperature;
  const at::Tensor old = output.narrow(1, options_.classes, output.size(1) - options_.classes).to(at::kFloat);
  const at::Tensor says = at::log_softmax(old / temperature, 1);
  const at::Tensor said = at::log_softmax(taught / temperature, 1);
  return (said.exp() * (said - says)).sum(1).mean() * options_.weight;
}

void Distillation::release() const {
  at::NoGradGuard guard;
  for (const Moved& moved : head_) {
    const at::Tensor gradient = moved.here.grad();
    if (gradient.defined()) gradient.narrow(0, options_.classes, moved.source.size(0)).zero_();
  }
}

void Distillation::restore() const {
  at::NoGradGuard guard;
  for (const Moved& moved : head_) moved.here.detach().narrow(0, options_.classes, moved.source.size(0)).copy_(moved.source);
}

}  // namespace torchgraft
