#include "statistics.h"

#include <string>

#include "failure.h"
#include "graph_paths.h"
#include "native_model.h"
#include "plain.h"
#include "requests.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;

constexpr const char* kCounter = "num_batches_tracked";
constexpr int64_t kMostBatches = int64_t{1} << 31;

// One BatchNorm layer while a batch is measured.
struct Norm {
  jit::Module module;
  // The share of a batch's own statistics in the new ones; forward uses 1 / counter where the layer has none.
  double momentum = 1;
  at::Tensor mean;
  at::Tensor variance;
  // Undefined where the layer counts no batches.
  at::Tensor counter;
  at::Tensor keptMean;
  at::Tensor keptVariance;
  at::Tensor keptCounter;
};

bool isTensorAt(const jit::Module& module, const char* name) { return module.hasattr(name) && module.attr(name).isTensor(); }

// A traced layer has its mode and momentum written into the graph; only a scripted one can be switched.
std::vector<Norm> findNorms(Model& model) {
  std::vector<Norm> norms;
  for (const std::string& path : model.findings().batchNorms) {
    jit::Module module = submodule(model.module(), path);
    if (!module.hasattr("momentum") || !module.hasattr("training")) continue;
    Norm norm{module, 1, module.attr("running_mean").toTensor(), module.attr("running_var").toTensor(), {}, {}, {}, {}};
    const c10::IValue momentum = module.attr("momentum");
    if (momentum.isDouble()) norm.momentum = momentum.toDouble();
    if (norm.momentum <= 0) continue;
    if (isTensorAt(module, kCounter)) norm.counter = module.attr(kCounter).toTensor();
    norms.push_back(std::move(norm));
  }
  return norms;
}

// Zeros, so that forward leaves momentum times what it measured.
void clear(Norm& norm) {
  norm.keptMean = norm.mean.clone();
  norm.keptVariance = norm.variance.clone();
  norm.mean.zero_();
  norm.variance.zero_();
  if (!norm.counter.defined()) return;
  norm.keptCounter = norm.counter.clone();
  norm.counter.zero_();
}

void putBack(Norm& norm) {
  norm.mean.copy_(norm.keptMean);
  norm.variance.copy_(norm.keptVariance);
  if (norm.counter.defined()) norm.counter.copy_(norm.keptCounter);
}

// A layer that forward never came to still has its zeros.
bool isMeasured(const Norm& norm) { return norm.variance.any().item<bool>() || norm.mean.any().item<bool>(); }

void average(Norm& norm, int64_t before) {
  const auto mix = [&](at::Tensor& found, const at::Tensor& kept) {
    const at::Tensor own = found.to(at::kDouble) / norm.momentum;
    found.copy_(before == 0 ? own : kept.to(at::kDouble) + (own - kept.to(at::kDouble)) / static_cast<double>(before + 1));
  };
  mix(norm.mean, norm.keptMean);
  mix(norm.variance, norm.keptVariance);
  if (norm.counter.defined()) norm.counter.fill_(before + 1);
}

bool isFinite(const Norm& norm) { return norm.mean.isfinite().all().item<bool>() && norm.variance.isfinite().all().item<bool>(); }

}  // namespace

void estimateStatistics(Model& model, const std::vector<at::Tensor>& inputs, int64_t before) {
  torch::NoGradGuard guard;
  std::vector<Norm> norms = findNorms(model);
  if (norms.empty() || model.findings().foldedBatchNorm) {
    throw Failure("NOT_TRAINABLE", norms.empty() ? "The model has no BatchNorm whose statistics could be measured anew: none at all, or traced into its graph."
                                                 : "The model's BatchNorm is folded into its convolutions: new statistics would undo the weights.");
  }
  model.setTraining(false);
  const auto switchAll = [&](bool training) {
    for (Norm& norm : norms) norm.module.setattr("training", training);
  };
  bool measured = false;
  try {
    for (Norm& norm : norms) clear(norm);
    switchAll(true);
    model.run(inputs);
    switchAll(false);
    for (Norm& norm : norms) {
      if (!isMeasured(norm)) {
        putBack(norm);
        continue;
      }
      if (norm.counter.defined() && norm.counter.item<double>() > 1) {
        throw Failure("NOT_TRAINABLE", "forward uses a BatchNorm layer more than once, so its statistics cannot be told apart.");
      }
      average(norm, before);
      if (!isFinite(norm)) throw Failure("MODEL_FAILED", "BatchNorm statistics of these images are not finite: a layer needs more than one value of each channel, and finite ones.");
      measured = true;
    }
  } catch (...) {
    switchAll(false);
    for (Norm& norm : norms) putBack(norm);
    throw;
  }
  if (!measured) throw Failure("NOT_TRAINABLE", "forward comes to none of the model's BatchNorm layers in train mode, so their statistics cannot be measured.");
  model.touch();
}

Napi::Value NativeModel::estimateStatistics(const Napi::CallbackInfo& info) {
  const Napi::Object request = readObject(info[0], "estimateStatistics");
  Batch batch = readBatch(info[0], "estimateStatistics", false);
  auto preprocess = readPreprocess(request, "estimateStatistics");
  const int64_t before = readInteger(request, "before", "estimateStatistics", 0, kMostBatches);
  return run(info, [batch = std::move(batch), preprocess, before](Loaded& loaded) {
    refuseServing(loaded, "estimateStatistics");
    torchgraft::estimateStatistics(*loaded.model, preparedInputs(batch, preprocess, loaded.model->device()), before);
    return nothing();
  });
}

}  // namespace torchgraft
