#include "trainer.h"

#include <chrono>
#include <cmath>
#include <mutex>

#include "failure.h"

namespace torchgraft {

namespace {

// Dropout draws from libtorch's one generator per process. Seeding and forward happen together under this lock, so
// that two models training at once do not change each other's numbers.
std::mutex random_lock;

std::vector<Group> makeGroups(const Model& model, const std::vector<GroupSpec>& specs) {
  std::unordered_map<std::string, at::Tensor> known(model.parameters().begin(), model.parameters().end());
  std::vector<Group> groups;
  for (const GroupSpec& spec : specs) {
    Group group;
    group.learningRate = spec.learningRate;
    group.weightDecay = spec.weightDecay;
    for (const std::string& name : spec.parameters) {
      auto found = known.find(name);
      if (found == known.end()) {
        throw Failure("INVALID_VALUE", "groups: the model has no parameter named '" + name + "', or it is in two groups.");
      }
      group.parameters.emplace_back(name, found->second);
      known.erase(found);
    }
    groups.push_back(std::move(group));
  }
  return groups;
}

at::Tensor mainOutput(const c10::IValue& output) {
  if (output.isTensor()) return output.toTensor();
  if (output.isTuple() && !output.toTupleRef().elements().empty() && output.toTupleRef().elements()[0].isTensor()) {
    return output.toTupleRef().elements()[0].toTensor();
  }
  throw Failure("MODEL_FAILED", "The model returns a " + output.tagKind() +
                                    ". Training and evaluation need a tensor, or a tuple that starts with one.");
}

at::Tensor onDevice(const at::Tensor& tensor, const at::Device& device) { return tensor.to(device); }

at::Tensor imagesOf(const Batch& batch) {
  if (batch.inputs.size() != 1) throw Failure("SHAPE_MISMATCH", "Preprocessing needs one input of images; " + std::to_string(batch.inputs.size()) + " came.");
  const at::Tensor& images = batch.inputs[0];
  if (images.scalar_type() != at::kByte || images.dim() != 4 || images.size(3) != 3 || images.numel() == 0) {
    throw Failure("SHAPE_MISMATCH", "Images must be uint8 [n, height, width, 3]; " + std::string(at::toString(images.scalar_type())) +
                                        " " + c10::str(images.sizes()) + " came.");
  }
  return images;
}

int64_t countCorrect(const at::Tensor& output, const at::Tensor& target) {
  if (output.dim() != 2 || target.dim() != 1 || !at::isIntegralType(target.scalar_type(), false)) return -1;
  return output.detach().argmax(1).cpu().eq(target).sum().item<int64_t>();
}

}  // namespace

Evaluation evaluate(Model& model, const Batch& batch, const std::optional<Preprocess>& preprocess, const Loss& loss) {
  at::NoGradGuard guard;
  std::vector<at::Tensor> inputs = batch.inputs;
  if (preprocess) inputs = {torchgraft::preprocess(onDevice(imagesOf(batch), model.device()), *preprocess)};
  const at::Tensor output = mainOutput(model.infer(inputs));
  Evaluation result;
  if (batch.target.defined()) result.loss = loss(output, batch.target).item<double>();
  result.logits = output.to(at::kCPU, at::kFloat).contiguous();
  return result;
}

Trainer::Trainer(Model& model, TrainingOptions options)
    : model_(model),
      options_(std::move(options)),
      loss_(options_.loss, model.device()),
      optimizer_(options_.optimizer, makeGroups(model, options_.groups)) {}

at::Tensor Trainer::lossOf(const c10::IValue& output, const at::Tensor& target) const {
  at::Tensor loss = loss_(mainOutput(output), target);
  if (!output.isTuple()) return loss;
  const auto& elements = output.toTupleRef().elements();
  for (size_t i = 1; i < elements.size(); ++i) {
    // Auxiliary logits, as Inception and GoogLeNet return them in train mode.
    if (elements[i].isTensor()) loss = loss + options_.auxiliaryWeight * loss_(elements[i].toTensor(), target);
  }
  return loss;
}

at::Tensor Trainer::prepare(const Batch& batch) const {
  const at::Tensor pixels = onDevice(imagesOf(batch), model_.device());
  if (!options_.augment) return preprocess(pixels, *options_.preprocess);
  if (!batch.indices.defined()) throw Failure("INVALID_TYPE", "step: augmentation needs `indices`, one sample index for each image.");
  return augment(pixels, batch.sizes, batch.indices, options_.seed, batch.epoch, *options_.preprocess, *options_.augment);
}

StepResult Trainer::step(const Batch& batch) {
  const auto start = std::chrono::steady_clock::now();
  if (!batch.learningRates.empty()) optimizer_.setLearningRates(batch.learningRates);
  if (model_.trainable().empty()) {
    throw Failure("NOT_TRAINABLE", "Nothing can learn: every parameter is frozen. Call unfreeze() or replaceHead() first.");
  }
  std::vector<at::Tensor> inputs = batch.inputs;
  if (options_.preprocess) inputs = {prepare(batch)};

  at::AutoGradMode gradients(true);
  model_.setTraining(true);
  const std::vector<Statistic> before = model_.copyStatistics();
  StepResult result;
  try {
    c10::IValue output;
    {
      std::lock_guard<std::mutex> lock(random_lock);
      at::manual_seed(options_.seed * 0x9E3779B97F4A7C15ULL + static_cast<uint64_t>(steps_));
      output = model_.run(inputs);
    }
    const at::Tensor loss = lossOf(output, batch.target);
    result.loss = loss.item<double>();
    if (!std::isfinite(result.loss)) throw Failure("LOSS_NOT_FINITE", "The loss is " + c10::str(result.loss) + ".");
    if (!loss.requires_grad()) {
      throw Failure("NOT_TRAINABLE", "The loss does not depend on any trainable parameter. Unfreeze layers that lead to the output.");
    }
    loss.backward();
    result.correct = countCorrect(mainOutput(output), batch.target);
    ++accumulated_;
    if (accumulated_ >= options_.accumulate || batch.flush) result.gradientNorm = finishAccumulation();
  } catch (...) {
    model_.restoreStatistics(before);
    optimizer_.zeroGrad();
    accumulated_ = 0;
    throw;
  }
  ++steps_;
  result.count = batch.inputs.empty() || batch.inputs[0].dim() == 0 ? 0 : batch.inputs[0].size(0);
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

double Trainer::finishAccumulation() {
  if (accumulated_ > 1) optimizer_.scaleGradients(1.0 / static_cast<double>(accumulated_));
  accumulated_ = 0;
  const double norm = optimizer_.gradientNorm();
  if (!std::isfinite(norm)) throw Failure("LOSS_NOT_FINITE", "The gradient's norm is " + c10::str(norm) + ".");
  if (options_.clipNorm > 0) optimizer_.clip(options_.clipNorm, norm);
  optimizer_.step();
  optimizer_.zeroGrad();
  return norm;
}

}  // namespace torchgraft
