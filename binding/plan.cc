#include "plan.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "failure.h"
#include "flops.h"
#include "precision.h"
#include "specialise.h"
#include "trainer.h"

namespace torchgraft {

// float32: rounding only; folding and fusing change the order of sums, and gradients pass more of them. bfloat16 has 8
// bits of mantissa, so one rounding is 0.4 %, and a network of 50 layers has many.
// Milliseconds of float32 on up to 8 images below which a processor stays with it: what bfloat16 could save is less than
// what its rounding, and a choice by the clock, take from a run that is to repeat.
constexpr double kWorthwhile = 20;

PlanBounds boundsOf(at::ScalarType precision) {
  if (precision == at::kFloat) return {1e-5, 1e-4};
  return precision == at::kHalf ? PlanBounds{2e-2, 0.2} : PlanBounds{0.1, 0.5};
}

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
struct Outcome {
  // What is learned from: the main output, then auxiliary ones.
  std::vector<at::Tensor> outputs;
  NamedTensors gradients;
  double milliseconds = 0;
};

double difference(const NamedTensors& values, const NamedTensors& references) {
  double most = 0;
  for (size_t i = 0; i < references.size(); ++i) {
    const double apart = relativeDifference(values[i].second, references[i].second);
    if (!(apart <= most)) most = apart;
    if (std::isnan(most)) return most;
  }
  return most;
}

double difference(const std::vector<at::Tensor>& values, const std::vector<at::Tensor>& references) {
  if (values.size() != references.size()) return kNaN;
  double most = 0;
  for (size_t i = 0; i < references.size(); ++i) {
    const double apart = relativeDifference(values[i], references[i]);
    if (!(apart <= most)) most = apart;
    if (std::isnan(most)) return most;
  }
  return most;
}

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

// Tries ways of computing. Of the variants in one precision the first that proves equal is taken, so that the same run
// computes the same on the same machine; only precisions are chosen by the clock. They are tried on one batch, leaving weights, statistics and gradients as they were.
class Planner {
 public:
  Planner(Trainer& trainer, const std::vector<at::Tensor>& inputs, const at::Tensor& target)
      : trainer_(trainer), model_(trainer.model_), inputs_(inputs), target_(target) {}

  PlanReport plan(const PlanRequest& request, std::shared_ptr<Engine>& engine) {
    model_.setTraining(true);
    if (!request.split) return unsplit("asked for by `split: false`", engine, request);
    const Split& split = trainer_.split(inputs_.size());
    if (!split.suffix) return unsplit(split.reason, engine, request);
    report_.reason = split.reason;
    report_.prefixLayers = split.prefixLayers;
    report_.suffixLayers = split.suffixLayers;
    const int64_t samples = std::max<int64_t>(1, inputs_[0].dim() > 0 ? inputs_[0].size(0) : 1);
    report_.totalFlops = countFlops([&] { reference_ = attempt([&] { return model_.run(copiesOf(inputs_)); }); }) / samples;
    choosePrecision(request, split, engine);
    if (!engine) return unsplit("no way of splitting it gave equal outputs and gradients", engine, request);
    describe(split, *engine, samples);
    return std::move(report_);
  }

 private:
  PlanReport unsplit(const std::string& why, std::shared_ptr<Engine>& engine, const PlanRequest& request) {
    engine.reset();
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
    const auto start = std::chrono::steady_clock::now();
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
      outcome.milliseconds = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
      outcome.outputs = {model_.mainOutput(output).detach().to(at::kFloat)};
      for (const at::Tensor& logits : model_.auxiliaryOutputs(output)) outcome.outputs.push_back(logits.detach().to(at::kFloat));
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

  // The first variant in this precision that proves equal, or null.
  std::shared_ptr<Engine> prove(const Split& split, at::ScalarType dtype, double* milliseconds = nullptr) {
    for (const auto& [name, way] : compilations(model_.device(), inputs_[0], dtype)) {
      PlanTrial trial{name, precisionName(dtype), 0, kNaN, kNaN, false, ""};
      std::shared_ptr<Engine> engine;
      try {
        engine = std::make_shared<Engine>(model_, split, EngineOptions{dtype, name});
        const auto run = [&] { return engine->finish(engine->features(copiesOf(inputs_))); };
        Outcome outcome = attempt(run);
        // The first run reorders weights and builds kernels; where precisions compete, the second is the one that counts.
        if (milliseconds) outcome.milliseconds = attempt(run).milliseconds;
        trial.milliseconds = outcome.milliseconds;
        trial.outputDifference = difference(outcome.outputs, reference_.outputs);
        trial.gradientDifference = difference(outcome.gradients, reference_.gradients);
        const PlanBounds bounds = boundsOf(dtype);
        trial.accepted = trial.outputDifference <= bounds.output && trial.gradientDifference <= bounds.gradient;
      } catch (const c10::OutOfMemoryError&) {
        throw;
      } catch (const std::exception& error) {
        // A variant that cannot be built or run is one that is not taken; the report shows it.
        trial.failure = error.what();
      }
      report_.trials.push_back(trial);
      if (!trial.accepted) continue;
      if (milliseconds) *milliseconds = trial.milliseconds;
      report_.variant = name;
      return engine;
    }
    return nullptr;
  }

  void choosePrecision(const PlanRequest& request, const Split& split, std::shared_ptr<Engine>& engine) {
    if (request.precision) {
      report_.precisionReason = "asked for";
      engine = prove(split, *request.precision);
      return;
    }
    if (!hasNativeBfloat16(model_.device())) {
      report_.precisionReason = "the device has no native bfloat16";
      engine = prove(split, at::kFloat);
      return;
    }
    double full = 0;
    double half = 0;
    engine = prove(split, at::kFloat, &full);
    if (engine && model_.device().is_cpu() && full < kWorthwhile) {
      report_.precisionReason = "float32 takes " + c10::str(full) + " ms, from which bfloat16 has little to take";
      return;
    }
    const std::string variant = report_.variant;
    auto other = prove(split, at::kBFloat16, &half);
    // A tenth, so that noise does not decide.
    if (other && (!engine || half < 0.9 * full)) {
      engine = other;
    } else {
      report_.variant = variant;
    }
    report_.precisionReason = "measured: float32 " + c10::str(full) + " ms, bfloat16 " + (other ? c10::str(half) + " ms" : "not equal enough");
  }

  void describe(const Split& split, Engine& engine, int64_t samples) {
    report_.split = engine.hasPrefix();
    report_.precision = precisionName(engine.options().dtype);
    report_.key = prefixKey(split, engine.options().dtype);
    const auto features = engine.features(copiesOf(inputs_));
    // Before the suffix runs: dropout in place writes into what crosses.
    const bool rowwise = engine.hasPrefix() && split.tensorsOnly && isRowwise(engine, inputs_, features);
    const int64_t suffix = countFlops([&] { attempt([&] { return engine.finish(features); }); }) / samples;
    report_.prefixFlops = engine.hasPrefix() ? report_.totalFlops - suffix : 0;
    if (!engine.hasPrefix()) return;
    if (!rowwise) engine.keepBatchesWhole();
    report_.cacheable = rowwise;
    for (const c10::IValue& value : features) {
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
  Outcome reference_;
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
  return parts.suffix ? torchgraft::planKey(parts, model_.device()) : "";
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
  PlanReport report = Planner(*this, inputs, batch.target).plan(request, engine_);
  if (report.cacheable) layout_ = report.crossings;
  precision_ = engine_ ? engine_->options().dtype : request.precision.value_or(at::kFloat);
  return report;
}

}  // namespace torchgraft
