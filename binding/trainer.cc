#include "trainer.h"

#include <chrono>
#include <cmath>
#include <mutex>

#include "failure.h"
#include "precision.h"

namespace torchgraft {

namespace {

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

at::Tensor imagesOf(const Batch& batch) {
  if (batch.inputs.size() != 1) throw Failure("SHAPE_MISMATCH", "Preprocessing needs one input of images; " + std::to_string(batch.inputs.size()) + " came.");
  const at::Tensor& images = batch.inputs[0];
  if (images.scalar_type() != at::kByte || images.dim() != 4 || images.size(3) != 3 || images.numel() == 0) {
    throw Failure("SHAPE_MISMATCH", "Images must be uint8 [n, height, width, 3]; " + std::string(at::toString(images.scalar_type())) +
                                        " " + c10::str(images.sizes()) + " came.");
  }
  return images;
}

int64_t classesOf(const at::Tensor& output) {
  if (output.dim() != 2) throw Failure("SHAPE_MISMATCH", "mixup and cutmix need a model whose output is [n, classes]; it is " + c10::str(output.sizes()) + ".");
  return output.size(1);
}

Failure staleFeatures() {
  return Failure("INVALID_VALUE", "Features can only be used while the plan they were made by holds. Plan and open them again.");
}

}  // namespace

std::mutex& randomLock() {
  static std::mutex lock;
  return lock;
}

at::Tensor mainOutput(const c10::IValue& output) {
  if (output.isTensor()) return output.toTensor();
  if (output.isTuple() && !output.toTupleRef().elements().empty() && output.toTupleRef().elements()[0].isTensor()) {
    return output.toTupleRef().elements()[0].toTensor();
  }
  throw Failure("MODEL_FAILED", "The model returns a " + output.tagKind() +
                                    ". Training and evaluation need a tensor, or a tuple that starts with one.");
}

Failure nothingLearns() {
  return Failure("NOT_TRAINABLE", "Nothing can learn: every parameter is frozen. Call unfreeze() or replaceHead() first.");
}

int64_t countCorrect(const at::Tensor& output, const at::Tensor& target) {
  if (output.dim() != 2 || target.dim() != 1 || !at::isIntegralType(target.scalar_type(), false)) return -1;
  return output.detach().argmax(1).cpu().eq(target).sum().item<int64_t>();
}

std::vector<at::Tensor> preparedInputs(const Batch& batch, const std::optional<Preprocess>& preprocess, const at::Device& device) {
  if (preprocess) return {withMirrored(torchgraft::preprocess(imagesOf(batch).to(device), *preprocess), batch.views)};
  if (batch.views.several()) throw Failure("INVALID_VALUE", "evaluate: only images can be seen in several views: pass uint8 pixels and `preprocess`.");
  std::vector<at::Tensor> inputs;
  for (const at::Tensor& input : batch.inputs) inputs.push_back(input.to(device));
  return inputs;
}

Evaluation judge(const c10::IValue& output, const at::Tensor& target, const Loss& loss, const TestViews& views) {
  const at::Tensor main = views.several() ? averaged(mainOutput(output), views) : mainOutput(output);
  Evaluation result;
  if (target.defined()) result.loss = loss(main, target).item<double>();
  result.logits = main.to(at::kCPU, at::kFloat).contiguous();
  return result;
}

void LossScale::overflowed() {
  factor *= 0.5;
  steady = 0;
}

void LossScale::fitted() {
  if (++steady < 2000) return;
  factor *= 2;
  steady = 0;
}

Trainer::Trainer(Model& model, TrainingOptions options, std::shared_ptr<const Source> source)
    : model_(model),
      options_(std::move(options)),
      loss_(options_.loss, model.device()),
      groupLoss_(options_.groupLoss),
      optimizer_(options_.optimizer, makeGroups(model, options_.groups)) {
  model_.refuseQuantised();
  if (options_.forgetting) configureForgetting(std::move(source));
}

void Trainer::configureForgetting(std::shared_ptr<const Source> source) {
  const auto& [anchor, distillation, fresh] = *options_.forgetting;
  if (options_.optimizer.kind == OptimizerOptions::lbfgs) throw Failure("INVALID_VALUE", "configure: lbfgs takes no forgetting.");
  if (!source) throw Failure("INVALID_VALUE", "configure: forgetting needs the source's weights. Call keepSource() first.");
  std::unordered_map<std::string, int64_t> rows;
  if (distillation.weight > 0) {
    distillation_ = std::make_unique<Distillation>(model_, source, distillation, fresh);
    rows = distillation_->rows();
  }
  if (anchor.kind != AnchorOptions::none) anchor_ = std::make_unique<Anchor>(model_, *source, anchor, fresh, rows);
}

at::Tensor Trainer::taskOutput(const c10::IValue& output) const {
  return distillation_ ? distillation_->task(mainOutput(output)) : mainOutput(output);
}

at::Tensor Trainer::lossOf(const c10::IValue& output, const Batch& batch) {
  const bool isEach = batch.weights.defined() || batch.groups.defined();
  const auto of = [&](const at::Tensor& logits) { return isEach ? loss_.each(logits, batch.target) : loss_(logits, batch.target); };
  at::Tensor loss = of(taskOutput(output));
  if (output.isTuple()) {
    const auto& elements = output.toTupleRef().elements();
    for (size_t i = 1; i < elements.size(); ++i) {
      // Auxiliary logits, as Inception and GoogLeNet return them in train mode.
      if (elements[i].isTensor()) loss = loss + options_.auxiliaryWeight * of(elements[i].toTensor());
    }
  }
  return isEach ? groupLoss_.mean(loss, batch.weights, batch.groups) : loss;
}

at::Tensor Trainer::prepare(const Batch& batch) const {
  const at::Tensor pixels = imagesOf(batch).to(model_.device());
  if (!options_.augment) return preprocess(pixels, *options_.preprocess);
  if (!batch.indices.defined()) throw Failure("INVALID_TYPE", "step: augmentation needs `indices`, one sample index for each image.");
  return augment(pixels, batch.sizes, batch.indices, options_.seed, batch.epoch, *options_.preprocess, *options_.augment);
}

std::vector<at::Tensor> Trainer::trainingInputs(const Batch& batch) const {
  if (options_.preprocess) return {prepare(batch)};
  return preparedInputs(batch, std::nullopt, model_.device());
}

std::optional<Mix> Trainer::mixOf(const Batch& batch, const std::vector<at::Tensor>& inputs) const {
  if (!batch.rows.empty() || !options_.augment || !options_.augment->mix.any()) return std::nullopt;
  return drawMix(options_.augment->mix, batch.indices, options_.seed, batch.epoch, inputs[0].size(2), inputs[0].size(3));
}

const Engine* Trainer::engineFor(const Batch& batch) const {
  const Engine* fast = engine();
  if (!batch.rows.empty() && !fast) throw staleFeatures();
  return batch.rows.empty() && !model_.takesExactly(batch.inputs.size()) ? nullptr : fast;
}

FeatureBank& Trainer::bank() const {
  if (!bank_) throw Failure("INVALID_VALUE", "No features are kept: call openFeatures() first.");
  return *bank_;
}

std::vector<c10::IValue> Trainer::featuresOf(const Batch& batch, const Engine& fast, const std::vector<at::Tensor>& inputs) const {
  return batch.rows.empty() ? fast.features(inputs) : bank().gather(batch.rows, model_.device());
}

const FeatureStore& Trainer::openFeatures(FeatureStoreOptions options) {
  if (!engine() || layout_.empty()) throw Failure("INVALID_VALUE", "openFeatures: the plan has no features that can be kept.");
  bank_ = std::make_unique<FeatureBank>(layout_, std::move(options));
  return bank_->contents();
}

std::vector<int64_t> Trainer::findFeatures(const std::vector<FeatureKey>& keys) { return bank().find(keys); }

std::vector<int64_t> Trainer::storeFeatures(const FeatureBatch& request) {
  const Engine* fast = engine();
  if (!fast) throw staleFeatures();
  FeatureBank& kept = bank();
  const Batch& batch = request.batch;
  if (!options_.preprocess) throw Failure("INVALID_VALUE", "storeFeatures: training was configured without preprocessing.");
  const at::Tensor images = imagesOf(batch);
  if (images.size(0) != static_cast<int64_t>(request.keys.size())) throw Failure("SHAPE_MISMATCH", "storeFeatures: needs one key for each image.");
  at::NoGradGuard guard;
  model_.setTraining(true);
  const at::Tensor pixels = images.to(model_.device());
  const bool augmented = request.augmentSeed && options_.augment;
  if (augmented && !batch.indices.defined()) throw Failure("INVALID_TYPE", "storeFeatures: augmentation needs `indices`.");
  const at::Tensor input = augmented ? augment(pixels, batch.sizes, batch.indices, *request.augmentSeed, batch.epoch, *options_.preprocess, *options_.augment)
                                     : preprocess(pixels, *options_.preprocess);
  return kept.store(request.keys, fast->features({input}));
}

std::vector<at::Tensor> Trainer::readFeatures(const std::vector<int64_t>& rows) const {
  FeatureBank& kept = bank();
  if (!engine()) throw staleFeatures();
  std::vector<at::Tensor> features;
  // Images are kept in channels-last; JavaScript knows row-major alone.
  for (const c10::IValue& value : kept.gather(rows, at::kCPU)) features.push_back(value.toTensor().contiguous());
  return features;
}

c10::IValue Trainer::seeded(const std::function<c10::IValue()>& forward) const {
  std::lock_guard<std::mutex> lock(randomLock());
  at::manual_seed(options_.seed * 0x9E3779B97F4A7C15ULL + static_cast<uint64_t>(steps_));
  return forward();
}

std::pair<c10::IValue, at::Tensor> Trainer::forwardAndLoss(const std::function<c10::IValue()>& forward, const Batch& batch) {
  const c10::IValue output = seeded(forward);
  return {output, lossOf(output, batch)};
}

Evaluation Trainer::evaluate(const Batch& batch, const std::optional<Preprocess>& preprocess) {
  at::NoGradGuard guard;
  std::vector<at::Tensor> inputs;
  if (batch.rows.empty()) inputs = preparedInputs(batch, preprocess ? preprocess : options_.preprocess, model_.device());
  model_.setTraining(false);
  if (const Engine* fast = engineFor(batch)) return judge(taskOutput(fast->finish(featuresOf(batch, *fast, inputs))), batch.target, loss_, batch.views);
  Autocast autocast(model_.device(), precision_);
  return judge(taskOutput(model_.run(inputs)), batch.target, loss_, batch.views);
}

StepResult Trainer::step(const Batch& batch) {
  const auto start = std::chrono::steady_clock::now();
  if (!batch.learningRates.empty()) optimizer_.setLearningRates(batch.learningRates);
  if (model_.trainable().empty()) throw nothingLearns();
  groupLoss_.check(batch.weights, batch.groups);
  if (options_.optimizer.kind == OptimizerOptions::lbfgs) return fit(batch);
  const Engine* fast = engineFor(batch);
  std::vector<at::Tensor> inputs = batch.rows.empty() ? trainingInputs(batch) : std::vector<at::Tensor>{};
  const std::optional<Mix> mix = mixOf(batch, inputs);
  if (mix) mixImages(inputs[0], *mix);

  at::AutoGradMode gradients(true);
  const std::vector<c10::IValue> features = fast ? featuresOf(batch, *fast, inputs) : std::vector<c10::IValue>{};
  const auto forward = [&](const std::vector<c10::IValue>& crossing, const std::vector<at::Tensor>& images) {
    if (fast) return fast->finish(crossing);
    Autocast autocast(model_.device(), precision_);
    return model_.run(images);
  };
  at::Tensor taught;
  if (distillation_) taught = distillation_->teach([&] { return mainOutput(forward(copiesOf(features), copiesOf(inputs))); });
  model_.setTraining(true);
  const std::vector<Statistic> before = model_.copyStatistics();
  StepResult result;
  try {
    const c10::IValue output = seeded([&] { return forward(features, inputs); });
    Batch learned = batch;
    if (mix) learned.target = mixedTarget(batch.target, classesOf(taskOutput(output)), *mix);
    at::Tensor loss = lossOf(output, learned);
    result.loss = loss.item<double>();
    if (!std::isfinite(result.loss)) throw Failure("LOSS_NOT_FINITE", "The loss is " + c10::str(result.loss) + ".");
    if (!loss.requires_grad()) {
      throw Failure("NOT_TRAINABLE", "The loss does not depend on any trainable parameter. Unfreeze layers that lead to the output.");
    }
    if (distillation_) {
      const at::Tensor forgotten = distillation_->loss(mainOutput(output), taught);
      result.penalty = forgotten.item<double>();
      loss = loss + forgotten;
    }
    (precision_ == at::kHalf ? loss * scale_.factor : loss).backward();
    result.correct = countCorrect(taskOutput(output), mix ? dominantLabels(batch.target, *mix) : batch.target);
    result.count = mainOutput(output).dim() == 0 ? 0 : mainOutput(output).size(0);
    ++accumulated_;
    if (accumulated_ >= options_.accumulate || batch.flush) result.gradientNorm = finishAccumulation(result.penalty);
  } catch (...) {
    model_.restoreStatistics(before);
    optimizer_.zeroGrad();
    accumulated_ = 0;
    throw;
  }
  groupLoss_.keep();
  ++steps_;
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

double Trainer::finishAccumulation(double& penalty) {
  const bool scaled = precision_ == at::kHalf;
  const double factor = (scaled ? 1 / scale_.factor : 1) / static_cast<double>(accumulated_);
  if (factor != 1) optimizer_.scaleGradients(factor);
  accumulated_ = 0;
  if (anchor_) penalty += anchor_->pull();
  if (distillation_) distillation_->release();
  const double norm = optimizer_.gradientNorm();
  if (!std::isfinite(norm)) {
    // Below 1 it is not the scale that makes them overflow.
    if (!scaled || scale_.factor <= 1) throw Failure("LOSS_NOT_FINITE", "The gradient's norm is " + c10::str(norm) + ".");
    scale_.overflowed();
    optimizer_.zeroGrad();
    return 0;
  }
  if (scaled) scale_.fitted();
  if (options_.clipNorm > 0) optimizer_.clip(options_.clipNorm, norm);
  optimizer_.step();
  if (distillation_) distillation_->restore();
  optimizer_.zeroGrad();
  return norm;
}

}  // namespace torchgraft
