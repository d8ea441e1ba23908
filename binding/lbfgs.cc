// L-BFGS on all rows of a batch: libtorch's own, with its strong-Wolfe line search. The only file that sees it, as its
// header takes long to compile.
#include <torch/optim/lbfgs.h>

#include <chrono>
#include <cmath>

#include "failure.h"
#include "trainer.h"

namespace torchgraft {

namespace {

// Crossing values that are taken through the suffix at a time.
constexpr int64_t kSliceBytes = int64_t{64} << 20;

std::vector<Batch> slicesOf(const std::vector<int64_t>& rows, int64_t rowBytes) {
  const auto atOnce = static_cast<size_t>(std::max<int64_t>(1, kSliceBytes / rowBytes));
  std::vector<Batch> slices;
  for (size_t from = 0; from < rows.size(); from += atOnce) {
    slices.emplace_back().rows.assign(rows.begin() + from, rows.begin() + std::min(rows.size(), from + atOnce));
  }
  return slices;
}

std::vector<at::Tensor> parametersOf(const std::vector<Group>& groups) {
  std::vector<at::Tensor> parameters;
  for (const Group& group : groups) {
    for (const auto& [name, parameter] : group.parameters) parameters.push_back(parameter);
  }
  return parameters;
}

// The loss of all samples as one batch, plus weightDecay / 2 times the squared 2-norm of each group.
class Objective {
 public:
  using Forward = std::function<at::Tensor(size_t slice)>;
  using Judge = std::function<at::Tensor(const at::Tensor& output)>;

  Objective(const std::vector<Group>& groups, size_t slices, Forward forward, Judge judge)
      : groups_(groups), slices_(slices), forward_(std::move(forward)), judge_(std::move(judge)) {}

  // The value here; its gradient is in the parameters.
  double operator()() {
    at::AutoGradMode gradients(true);
    for (const at::Tensor& parameter : parametersOf(groups_)) parameter.mutable_grad() = at::Tensor();
    loss_ = (slices_ == 1 ? backwardAtOnce() : backwardInSlices()).item<double>();
    return loss_ + decay();
  }

  // Of the last evaluation: without the weight decay, and all outputs.
  double loss() const { return loss_; }
  const at::Tensor& output() const { return output_; }

 private:
  at::Tensor backwardAtOnce() {
    const at::Tensor output = checked(forward_(0));
    const at::Tensor loss = judge_(output);
    loss.backward();
    output_ = output.detach();
    return loss;
  }

  // The loss sees all outputs at once, so that its mean is right whatever it weighs samples by; its gradient then goes
  // back through each slice, computed a second time. Only one slice's activations are alive.
  at::Tensor backwardInSlices() {
    std::vector<at::Tensor> outputs;
    {
      at::NoGradGuard guard;
      for (size_t i = 0; i < slices_; ++i) outputs.push_back(forward_(i));
    }
    output_ = at::cat(outputs);
    const at::Tensor leaf = output_.detach().requires_grad_();
    const at::Tensor loss = judge_(leaf);
    loss.backward();
    int64_t from = 0;
    for (size_t i = 0; i < slices_; ++i) {
      const at::Tensor output = checked(forward_(i));
      output.backward(leaf.grad().narrow(0, from, output.size(0)));
      from += output.size(0);
    }
    return loss;
  }

  static at::Tensor checked(const at::Tensor& output) {
    if (output.requires_grad()) return output;
    throw Failure("NOT_TRAINABLE", "The output does not depend on any trainable parameter. Unfreeze layers that lead to it.");
  }

  double decay() {
    at::NoGradGuard guard;
    double sum = 0;
    for (const Group& group : groups_) {
      for (const auto& [name, parameter] : group.parameters) {
        at::Tensor& gradient = parameter.mutable_grad();
        if (group.weightDecay != 0) {
          sum += group.weightDecay / 2 * parameter.square().sum(at::kDouble).item<double>();
          gradient = gradient.defined() ? gradient.add(parameter, group.weightDecay) : parameter.mul(group.weightDecay);
        }
        // libtorch's L-BFGS takes views of gradients as flat memory.
        if (gradient.defined()) gradient = gradient.contiguous();
      }
    }
    return sum;
  }

  const std::vector<Group>& groups_;
  size_t slices_;
  Forward forward_;
  Judge judge_;
  double loss_ = 0;
  at::Tensor output_;
};

double onlyRate(const std::vector<Group>& groups) {
  for (const Group& group : groups) {
    if (group.learningRate != groups[0].learningRate) {
      throw Failure("INVALID_VALUE", "lbfgs has one learning rate for everything that learns; leave learning rates by pattern out.");
    }
  }
  return groups[0].learningRate;
}

void minimise(Objective& objective, const std::vector<Group>& groups, const OptimizerOptions& options) {
  const double rate = onlyRate(groups);
  // The line search divides by its first step.
  if (rate == 0) return;
  auto settings = torch::optim::LBFGSOptions(rate)
                      .max_iter(options.maxIterations)
                      .history_size(options.historySize)
                      .tolerance_grad(options.toleranceGradient)
                      .tolerance_change(options.toleranceChange)
                      .line_search_fn("strong_wolfe");
  bool first = true;
  torch::optim::LBFGS(parametersOf(groups), settings).step([&]() -> at::Tensor {
    const double value = objective();
    // Later ones are trial steps, from which the line search comes back.
    if (first && !std::isfinite(value)) throw Failure("LOSS_NOT_FINITE", "The loss is " + c10::str(value) + ".");
    first = false;
    return at::scalar_tensor(value, at::kDouble);
  });
}

}  // namespace

// In eval mode: with dropout, or statistics of the batch, the line search would compare values of different functions.
// In float32 whatever the plan's precision, for the differences it compares are smaller than bfloat16 can tell apart.
StepResult Trainer::fit(const Batch& batch) {
  const auto start = std::chrono::steady_clock::now();
  const std::vector<Group> groups = optimizer_.learning();
  if (groups.empty()) throw nothingLearns();
  const Engine* fast = engineFor(batch);
  model_.setTraining(false);
  const std::vector<Batch> slices = batch.rows.empty() ? std::vector<Batch>{} : slicesOf(batch.rows, bank().contents().rowBytes());
  const std::vector<at::Tensor> inputs = batch.rows.empty() ? trainingInputs(batch) : std::vector<at::Tensor>{};
  const std::vector<c10::IValue> features = fast && slices.empty() ? fast->features(inputs) : std::vector<c10::IValue>{};
  const auto forward = [&](size_t slice) {
    return model_.mainOutput(seeded([&] {
      if (!fast) return model_.run(inputs);
      // What the suffix may write into is read or copied anew for each evaluation.
      return fast->finish(slices.empty() ? copiesOf(features) : featuresOf(slices[slice], *fast, {}), at::kFloat);
    }));
  };
  // In float64, where the loss is ours: the line search comes as near to the optimum as differences of it can be told apart.
  const bool isOurs = options_.loss.kind != LossOptions::source;
  const auto judge = [&](const at::Tensor& output) { return lossOf(isOurs ? output.to(at::kDouble) : output, batch); };
  Objective objective(groups, std::max<size_t>(1, slices.size()), forward, judge);

  std::vector<at::Tensor> before;
  for (const at::Tensor& parameter : parametersOf(groups)) before.push_back(parameter.detach().clone());
  const std::vector<Statistic> statistics = model_.copyStatistics();
  StepResult result;
  try {
    minimise(objective, groups, options_.optimizer);
    // Where it ended is what a caller wants to know, and by the gradient's norm whether it has converged.
    if (!std::isfinite(objective())) throw Failure("LOSS_NOT_FINITE", "The loss is " + c10::str(objective.loss()) + ".");
    result.loss = objective.loss();
    result.gradientNorm = optimizer_.gradientNorm();
    result.correct = countCorrect(objective.output(), batch.target);
    result.count = objective.output().dim() == 0 ? 0 : objective.output().size(0);
  } catch (...) {
    at::NoGradGuard guard;
    const std::vector<at::Tensor> parameters = parametersOf(groups);
    for (size_t i = 0; i < parameters.size(); ++i) parameters[i].copy_(before[i]);
    model_.restoreStatistics(statistics);
    optimizer_.zeroGrad();
    throw;
  }
  optimizer_.zeroGrad();
  ++steps_;
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace torchgraft
