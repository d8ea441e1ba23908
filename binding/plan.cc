#include "plan.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "failure.h"
#include "flops.h"
#include "precision.h"
#include "proof.h"
#include "specialise.h"
#include "trainer.h"

namespace torchgraft {

double outputBound(at::ScalarType precision) { return precision == at::kFloat ? 1e-5 : precision == at::kHalf ? 2e-2 : 0.1; }

double relativeDifference(const at::Tensor& value, const at::Tensor& reference) {
  constexpr auto kNaN = std::numeric_limits<double>::quiet_NaN();
  if (!value.defined() || !reference.defined()) return value.defined() == reference.defined() ? 0 : kNaN;
  if (value.sizes() != reference.sizes()) return kNaN;
  if (reference.numel() == 0) return 0;
  const double largest = reference.abs().max().item<double>();
  const double apart = (value - reference).abs().max().item<double>();
  return largest > 0 ? apart / largest : apart;
}

std::vector<at::Tensor> copiesOf(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> copies;
  for (const at::Tensor& tensor : tensors) copies.push_back(tensor.clone());
  return copies;
}

std::vector<c10::IValue> copiesOf(const std::vector<c10::IValue>& values) {
  std::vector<c10::IValue> copies;
  for (const c10::IValue& value : values) copies.push_back(value.isTensor() ? c10::IValue(value.toTensor().clone()) : value);
  return copies;
}

namespace {

constexpr auto kNaN = std::numeric_limits<double>::quiet_NaN();

// Floating-point operations a sample in the prefix from which bfloat16 is taken unasked: compiled prefixes run 1.5 to 1.8
// times as fast in it, whatever their size, but of a small one there is less to gain than its rounding takes. What learns gains
// less or loses, by BatchNorm and depthwise convolutions.
constexpr int64_t kWorthwhile = 100'000'000;

// Inputs, or where none of them is of floating-point numbers what learns, changed by about as much as rounding changes
// them, until it is put back.
class Nudged {
 public:
  // In float32 a few of its roundings; in a lower precision about one of that. Another phase changes them otherwise.
  Nudged(const Model& model, const std::vector<at::Tensor>& inputs, at::ScalarType dtype, double phase) : inputs_(copiesOf(inputs)) {
    at::NoGradGuard guard;
    const double most = std::ldexp(1.0, dtype == at::kFloat ? -20 : dtype == at::kHalf ? -12 : -9);
    bool any = false;
    for (const at::Tensor& input : inputs_) any = nudge(input, most, phase) || any;
    if (any) return;
    for (const auto& [name, parameter] : model.parameters()) {
      if (!model.isTrainable(name)) continue;
      kept_.emplace_back(parameter, parameter.detach().clone());
      nudge(parameter, most, phase);
    }
  }
  ~Nudged() {
    at::NoGradGuard guard;
    for (auto& [parameter, value] : kept_) parameter.copy_(value);
  }
  Nudged(const Nudged&) = delete;
  Nudged& operator=(const Nudged&) = delete;

  const std::vector<at::Tensor>& inputs() const { return inputs_; }

 private:
  // By a share of each number, `most` at most. False where there is nothing to change.
  static bool nudge(at::Tensor tensor, double most, double phase) {
    if (!tensor.is_floating_point() || tensor.numel() == 0) return false;
    const at::Tensor pattern = at::arange(tensor.numel(), tensor.options().requires_grad(false)).mul_(0.7).add_(phase).sin_().view(tensor.sizes());
    tensor.addcmul_(tensor, pattern, most);
    return true;
  }

  std::vector<at::Tensor> inputs_;
  std::vector<std::pair<at::Tensor, at::Tensor>> kept_;
};

// Whether each row of the crossing values depends on its own sample: so it comes out alone as it does in the batch.
bool isRowwise(const Engine& engine, const std::vector<at::Tensor>& inputs, const std::vector<c10::IValue>& features) {
  std::vector<at::Tensor> first;
  for (const at::Tensor& input : inputs) {
    if (input.dim() == 0 || input.size(0) < 2 || input.size(0) != inputs[0].size(0)) return false;
    first.push_back(input.narrow(0, 0, 1));
  }
  std::vector<c10::IValue> alone;
  try {
    alone = engine.features(copiesOf(first));
  } catch (const Failure&) {
    // A sample alone is not what this model takes.
    return false;
  }
  for (size_t i = 0; i < features.size(); ++i) {
    if (!features[i].isTensor() || !alone[i].isTensor()) return false;
    const at::Tensor many = features[i].toTensor();
    const at::Tensor one = alone[i].toTensor();
    if (many.dim() == 0 || many.size(0) != inputs[0].size(0) || one.dim() == 0 || one.size(0) != 1) return false;
    if (!many.is_floating_point() || !(relativeDifference(one, many.narrow(0, 0, 1)) < 1e-2)) return false;
  }
  return true;
}

}  // namespace

// Tries ways of computing on one batch, leaving weights, statistics and gradients as they were. The first variant that
// proves equal is taken, and the precision follows from device, arithmetic and proof: no clock decides, so that the same run
// computes the same.
class Planner {
 public:
  Planner(Trainer& trainer, const std::vector<at::Tensor>& inputs, const at::Tensor& target)
      : trainer_(trainer), model_(trainer.model_), inputs_(inputs), target_(target) {}

  // The engine is null where the model runs unsplit.
  std::pair<PlanReport, std::shared_ptr<Engine>> plan(const PlanRequest& request) {
    model_.setTraining(true);
    if (!request.split) return {unsplit("asked for by `split: false`", request), nullptr};
    const Split& split = trainer_.split(inputs_.size());
    if (!split.suffix) return {unsplit(split.reason, request), nullptr};
    report_.reason = split.reason;
    report_.prefixLayers = split.prefixLayers;
    report_.suffixLayers = split.suffixLayers;
    samples_ = std::max<int64_t>(1, inputs_[0].dim() > 0 ? inputs_[0].size(0) : 1);
    Outcome reference;
    report_.totalFlops = countFlops([&] { reference = attempt([&] { return model_.run(copiesOf(inputs_)); }); }) / samples_;
    proof_.emplace(std::move(reference));
    const std::optional<Proven> found = choose(request, split);
    if (!found) return {unsplit("no way of splitting it gave equal outputs and gradients", request), nullptr};
    describe(split, *found);
    return {std::move(report_), found->engine};
  }

 private:
  struct Proven {
    std::shared_ptr<Engine> engine;
    // What crosses, as the prefix gave it.
    std::vector<c10::IValue> features;
    int64_t suffixFlops = 0;
  };

  PlanReport unsplit(const std::string& why, const PlanRequest& request) {
    report_.split = false;
    report_.reason = why;
    report_.variant = "unsplit";
    report_.prefixLayers.clear();
    report_.precision = precisionName(request.precision.value_or(at::kFloat));
    if (report_.precisionReason.empty()) report_.precisionReason = request.precision ? "asked for" : "an unsplit model runs in float32";
    return std::move(report_);
  }

  // Runs forward, loss and backward as a step does, and puts everything back.
  Outcome attempt(const std::function<c10::IValue()>& forward) {
    const auto statistics = model_.copyStatistics();
    Outcome outcome;
    try {
      at::AutoGradMode gradients(true);
      Batch alike;
      alike.target = target_;
      const auto [output, loss] = trainer_.forwardAndLoss(forward, alike);
      if (!loss.requires_grad()) {
        throw Failure("NOT_TRAINABLE", "The loss does not depend on any trainable parameter. Unfreeze layers that lead to the output.");
      }
      loss.backward();
      std::vector<at::Tensor> outputs{model_.mainOutput(output)};
      for (const at::Tensor& logits : model_.auxiliaryOutputs(output)) outputs.push_back(logits);
      for (at::Tensor& logits : outputs) logits = logits.detach().to(at::kFloat).flatten();
      outcome.output = at::cat(outputs);
      outcome.loss = loss.item<double>();
      for (const auto& [name, tensor] : model_.parameters()) {
        if (model_.isTrainable(name)) outcome.gradients.emplace_back(name, tensor.grad().defined() ? tensor.grad().clone() : at::Tensor());
      }
    } catch (...) {
      model_.restoreStatistics(statistics);
      trainer_.optimizer_.zeroGrad();
      throw;
    }
    model_.restoreStatistics(statistics);
    trainer_.optimizer_.zeroGrad();
    return outcome;
  }

  // Where rounding decides, what a run comes to is partly chance, so that a few are needed, each from other roundings; the
  // last from the batch as it is.
  static constexpr double kPhases[] = {1, 2, 0};

  // Calls run(inputs) with the batch as it is, and as rounding in this precision might have left it.
  template <class Run>
  void fromRoundings(at::ScalarType dtype, const Run& run) {
    for (const double phase : kPhases) {
      if (phase == 0) {
        run(inputs_);
      } else {
        const Nudged nudged(model_, inputs_, dtype, phase);
        run(nudged.inputs());
      }
    }
  }

  // The unsplit model's own, in a lower precision.
  const Deviation& usual(at::ScalarType dtype) {
    if (!usual_) {
      Deviations found;
      fromRoundings(dtype, [&](const std::vector<at::Tensor>& inputs) {
        found.add(proof_->deviationOf(attempt([&] {
          const Autocast autocast(model_.device(), dtype);
          return model_.run(copiesOf(inputs));
        })));
      });
      usual_ = found.mean();
    }
    return *usual_;
  }

  // What rounding makes of the reference costs another run of it, and is asked only where it may matter.
  Verdict again(const Verdict& first, const std::function<Verdict()>& judge) {
    if (first.accepted || proof_->hasRounding()) return first;
    const Nudged nudged(model_, inputs_, at::kFloat, 0);
    proof_->addRounding(attempt([&] { return model_.run(copiesOf(nudged.inputs())); }));
    return judge();
  }

  Outcome run(Proven& proven, const std::vector<at::Tensor>& inputs) {
    Outcome outcome;
    const auto start = std::chrono::steady_clock::now();
    proven.features = proven.engine->features(copiesOf(inputs));
    proven.suffixFlops = countFlops([&] { outcome = attempt([&] { return proven.engine->finish(copiesOf(proven.features)); }); }) / samples_;
    outcome.milliseconds = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    return outcome;
  }

  // More than once, for what a run leaves behind may change the next one.
  Verdict judge(Proven& proven, double& milliseconds) {
    const at::ScalarType dtype = proven.engine->options().dtype;
    if (dtype != at::kFloat) {
      Deviations found;
      fromRoundings(dtype, [&](const std::vector<at::Tensor>& inputs) {
        const Outcome outcome = run(proven, inputs);
        milliseconds = outcome.milliseconds;
        found.add(proof_->deviationOf(outcome));
      });
      const auto verdict = [&] { return proof_->judgeLower(found.mean(), usual(dtype)); };
      return again(verdict(), verdict);
    }
    Verdict verdict;
    for (int time = 0; time < 2; ++time) {
      const Outcome outcome = run(proven, inputs_);
      milliseconds = outcome.milliseconds;
      const auto once = [&] { return proof_->judge(outcome); };
      verdict = again(once(), once);
      if (!verdict.accepted) break;
    }
    return verdict;
  }

  std::optional<Proven> prove(const Split& split, const std::string& variant, at::ScalarType dtype) {
    PlanTrial trial{variant, precisionName(dtype), 0, kNaN, kNaN, false, ""};
    Proven proven;
    try {
      proven.engine = std::make_shared<Engine>(model_, split, EngineOptions{dtype, variant});
      const Verdict verdict = judge(proven, trial.milliseconds);
      trial.outputDifference = verdict.outputDifference;
      trial.gradientDifference = verdict.gradientDifference;
      trial.failure = verdict.failure;
      trial.accepted = verdict.accepted;
    } catch (const c10::OutOfMemoryError&) {
      throw;
    } catch (const std::exception& error) {
      // A variant that cannot be built or run is one that is not taken; the report shows it.
      trial.failure = error.what();
    }
    report_.trials.push_back(trial);
    return trial.accepted ? std::optional<Proven>(std::move(proven)) : std::nullopt;
  }

  // The first variant in float32 that proves equal.
  std::optional<Proven> proveExact(const Split& split) {
    for (const auto& [variant, way] : compilations(model_.device(), inputs_[0], at::kFloat)) {
      if (auto proven = prove(split, variant, at::kFloat)) return proven;
    }
    return std::nullopt;
  }

  bool isProven(const std::string& variant) const {
    return std::any_of(report_.trials.begin(), report_.trials.end(), [&](const PlanTrial& trial) { return trial.variant == variant && trial.precision == "float32" && trial.accepted; });
  }
  bool isTried(const std::string& variant) const {
    return std::any_of(report_.trials.begin(), report_.trials.end(), [&](const PlanTrial& trial) { return trial.variant == variant; });
  }

  // The first variant in a lower precision that proves equal there and in float32.
  std::optional<Proven> proveLower(const Split& split, at::ScalarType dtype) {
    for (const auto& [variant, way] : compilations(model_.device(), inputs_[0], dtype)) {
      if (!isTried(variant)) prove(split, variant, at::kFloat);
      if (!isProven(variant)) continue;
      if (auto proven = prove(split, variant, dtype)) return proven;
    }
    return std::nullopt;
  }

  std::optional<Proven> choose(const PlanRequest& request, const Split& split) {
    if (request.precision) {
      report_.precisionReason = "asked for";
      return *request.precision == at::kFloat ? proveExact(split) : proveLower(split, *request.precision);
    }
    auto exact = proveExact(split);
    const int64_t frozen = exact && exact->engine->hasPrefix() ? report_.totalFlops - exact->suffixFlops : 0;
    const std::string share = std::to_string(frozen / 1'000'000) + " million operations a sample in what is frozen";
    if (!hasNativeBfloat16(model_.device())) {
      report_.precisionReason = "the device has no native bfloat16";
    } else if (frozen < kWorthwhile) {
      report_.precisionReason = share + ": too few for bfloat16";
    } else if (auto lower = proveLower(split, at::kBFloat16)) {
      report_.precisionReason = "native here, and " + share;
      return lower;
    } else {
      report_.precisionReason = "bfloat16 is not equal enough";
    }
    return exact;
  }

  void describe(const Split& split, const Proven& proven) {
    Engine& engine = *proven.engine;
    report_.split = engine.hasPrefix();
    report_.variant = engine.options().variant;
    report_.precision = precisionName(engine.options().dtype);
    report_.key = prefixKey(split, engine.options().dtype);
    report_.prefixFlops = engine.hasPrefix() ? report_.totalFlops - proven.suffixFlops : 0;
    if (!engine.hasPrefix()) return;
    report_.cacheable = split.tensorsOnly && isRowwise(engine, inputs_, proven.features);
    if (!report_.cacheable) engine.keepBatchesWhole();
    for (const c10::IValue& value : proven.features) {
      if (!value.isTensor()) continue;
      const at::Tensor tensor = value.toTensor();
      const auto sizes = tensor.sizes();
      report_.crossings.push_back({{sizes.begin() + (sizes.empty() ? 0 : 1), sizes.end()}, c10::toString(tensor.scalar_type())});
    }
  }

  Trainer& trainer_;
  Model& model_;
  std::vector<at::Tensor> inputs_;
  at::Tensor target_;
  int64_t samples_ = 1;
  std::optional<Proof> proof_;
  std::optional<Deviation> usual_;
  PlanReport report_;
};

// Null graphs and a reason where forward cannot be taken apart.
const Split& Trainer::split(size_t given) {
  if (split_ && splitRevision_ == model_.revision() && split_->given == given) return *split_;
  model_.setTraining(true);
  splitRevision_ = model_.revision();
  try {
    split_ = splitForward(model_.module(), given);
  } catch (const std::exception& error) {
    split_ = Split{};
    split_->given = given;
    split_->reason = std::string("its forward cannot be split: ") + error.what();
  }
  return *split_;
}

std::string Trainer::planKey() {
  if (model_.trainable().empty()) throw nothingLearns();
  const Split& parts = split(usualInputs());
  return parts.suffix ? torchgraft::planKey(parts, model_) : "";
}

size_t Trainer::usualInputs() const { return options_.preprocess ? 1 : usualArguments(model_.module()); }

PlanReport Trainer::usePlan(const KnownPlan& known) {
  const Split& parts = split(usualInputs());
  if (!parts.suffix) throw Failure("INVALID_VALUE", "usePlan: " + parts.reason + ".");
  bank_.reset();
  engine_ = std::make_shared<Engine>(model_, parts, EngineOptions{known.precision, known.variant});
  if (!known.cacheable) engine_->keepBatchesWhole();
  precision_ = known.precision;
  layout_ = known.cacheable ? known.crossings : std::vector<Crossing>{};
  PlanReport report;
  report.remembered = true;
  report.split = engine_->hasPrefix();
  report.reason = parts.reason;
  report.variant = known.variant;
  report.precision = precisionName(known.precision);
  report.prefixLayers = parts.prefixLayers;
  report.suffixLayers = parts.suffixLayers;
  report.crossings = known.crossings;
  report.cacheable = known.cacheable && engine_->hasPrefix();
  report.key = prefixKey(parts, known.precision);
  return report;
}

PlanReport Trainer::plan(const Batch& batch, const PlanRequest& request) {
  if (accumulated_ > 0) throw Failure("INVALID_VALUE", "plan: an accumulation is under way. Plan before the first batch.");
  if (model_.trainable().empty()) throw nothingLearns();
  std::vector<at::Tensor> inputs = batch.inputs;
  if (options_.preprocess) inputs = {prepare(batch)};
  for (at::Tensor& input : inputs) input = input.to(model_.device());
  model_.checkInputs(inputs.size());
  engine_.reset();
  bank_.reset();
  layout_.clear();
  precision_ = at::kFloat;
  KeptGenerator generator(model_.device());
  const auto leave = [&] {
    model_.setTraining(false);
    generator.restore();
  };
  PlanReport report;
  std::shared_ptr<Engine> engine;
  try {
    std::tie(report, engine) = Planner(*this, inputs, batch.target).plan(request);
  } catch (...) {
    leave();
    throw;
  }
  leave();
  // Nothing is set before all of it is known.
  if (report.cacheable) layout_ = report.crossings;
  precision_ = engine ? engine->options().dtype : request.precision.value_or(at::kFloat);
  engine_ = std::move(engine);
  return report;
}

}  // namespace torchgraft
