#include "serving.h"

#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include <algorithm>
#include <chrono>

#include "failure.h"
#include "forward_failure.h"
#include "outputs.h"
#include "plan.h"
#include "precision.h"
#include "split.h"

namespace torchgraft {

namespace {

// The least of a few runs, seconds; the first builds kernels and does not count.
double timeOf(const Compiled& compiled, const std::vector<at::Tensor>& inputs) {
  constexpr int kRuns = 2;
  double least = 0;
  for (int run = 0; run <= kRuns; ++run) {
    const auto start = std::chrono::steady_clock::now();
    compiled.run(inputs);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (run == 1 || (run > 1 && seconds < least)) least = seconds;
  }
  return least;
}

// The main output alone is computed, where the graph tells which it is.
void keepMain(torch::jit::Graph& graph, const OutputPlace& place) {
  for (const Output& output : outputsOf(graph)) {
    if (output.place != place || output.values.size() != 1 || output.values[0]->node()->owningBlock() != graph.block()) continue;
    graph.registerOutput(const_cast<torch::jit::Value*>(output.values[0]));
    graph.eraseOutput(0);
    return;
  }
}

bool givesTensor(const torch::jit::Graph& graph) { return graph.outputs().at(0)->type()->isSubtypeOf(*c10::TensorType::get()); }

std::vector<at::ScalarType> precisionsOf(const Model& model, std::optional<at::ScalarType> asked) {
  if (asked) return {*asked};
  if (hasNativeBfloat16(model.device())) return {at::kFloat, at::kBFloat16};
  return {at::kFloat};
}

}  // namespace

Serving::Serving(Model& model, const std::vector<at::Tensor>& example, std::optional<at::ScalarType> precision,
                 const std::vector<at::Tensor>& samples)
    : model_(&model) {
  const auto mainOf = [&](const c10::IValue& output) { return model.mainOutput(output).to(at::kFloat); };
  const at::Tensor reference = mainOf(model.infer(copiesOf(example)));
  auto graph = freezeForward(model.module(), example.size());
  if (!graph) throw Failure("MODEL_FAILED", "optimise: the model's forward changes its own attributes, so it cannot be frozen for serving.");
  keepMain(*graph, model.facts().mainOutput);
  torch::jit::EliminateDeadCode(graph);
  std::string failures;
  double fastest = 0;
  for (const at::ScalarType dtype : precisionsOf(model, precision)) {
    for (auto [name, options] : compilations(model.device(), example.at(0), dtype)) {
      // Slower than the others by far: only where they are not right.
      if (compiled_ && name == "exact") continue;
      // Parts of a batch are put together as tensors.
      if (!givesTensor(*graph)) options.chunk = 0;
      try {
        auto compiled = std::make_unique<Compiled>(graph, options);
        const double difference = relativeDifference(mainOf(compiled->run(copiesOf(example)).at(0)), reference);
        if (!(difference <= outputBound(dtype))) {
          failures += " " + precisionName(dtype) + " " + name + ": deviates by " + c10::str(difference) + ".";
          continue;
        }
        const double seconds = timeOf(*compiled, copiesOf(example));
        if (compiled_ && seconds >= fastest) continue;
        fastest = seconds;
        compiled_ = std::move(compiled);
        report_ = {precisionName(dtype), name + ", channels-last", difference, seconds, seconds};
      } catch (const c10::OutOfMemoryError&) {
        throw;
      } catch (const std::exception& error) {
        failures += " " + precisionName(dtype) + " " + name + ": " + error.what();
      }
    }
  }
  if (!compiled_) throw Failure("MODEL_FAILED", "optimise: no way of compiling the model gives its own logits.", failures);
  if (!samples.empty()) useEightBits(model, graph, example, samples, reference);
}

void Serving::useEightBits(const Model& model, const std::shared_ptr<torch::jit::Graph>& graph, const std::vector<at::Tensor>& example,
                           const std::vector<at::Tensor>& samples, const at::Tensor& reference) {
  CompileOptions options = compiled_->options();
  options.fold = true;
  options.fuse = false;
  options.samples = samples;
  auto compiled = std::make_unique<Compiled>(graph, options);
  double fastest = 0;
  std::optional<at::QEngine> best;
  for (const at::QEngine engine : quantisedEngines()) {
    compiled->useEngine(engine);
    const double seconds = timeOf(*compiled, copiesOf(example));
    if (best && seconds >= fastest) continue;
    fastest = seconds;
    best = engine;
  }
  if (!best) throw Failure("INVALID_VALUE", "optimise: this libtorch has no 8-bit convolutions. Take precision float32.");
  compiled->useEngine(*best);
  const double difference = relativeDifference(model.mainOutput(compiled->run(copiesOf(example)).at(0)).to(at::kFloat), reference);
  compiled_ = std::move(compiled);
  report_ = {"int8", engineName(*best) + ", channels-last", difference, fastest, report_.seconds};
}

c10::IValue Serving::run(const std::vector<at::Tensor>& inputs) const {
  try {
    return compiled_->run(inputs).at(0);
  } catch (const c10::OutOfMemoryError&) {
    throw;
  } catch (const std::exception& error) {
    refuseForward(inputs, error, model_);
  }
}

}  // namespace torchgraft
