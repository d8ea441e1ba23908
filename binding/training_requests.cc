// The request of configure(): optimizer, groups, loss, preprocessing and augmentation.
#include <array>

#include "failure.h"
#include "plain.h"
#include "requests.h"

namespace torchgraft {

namespace {

constexpr double kLargest = 1e30;
constexpr int64_t kMaxSide = 8192;
// Of a Beta distribution: above it every share is one half.
constexpr double kLargestAlpha = 1000;

LossOptions readLoss(const Napi::Object& object, const std::string& where) {
  LossOptions options;
  const std::string kind = readString(object, "kind", where);
  if (kind == "crossEntropy") {
    options.kind = LossOptions::crossEntropy;
    options.labelSmoothing = readNumber(object, "labelSmoothing", where, 0, 1);
  } else if (kind == "bceWithLogits") {
    options.kind = LossOptions::bceWithLogits;
  } else if (kind == "focal") {
    options.kind = LossOptions::focal;
    options.gamma = readNumber(object, "gamma", where, 0, 100);
  } else if (kind == "mse") {
    options.kind = LossOptions::mse;
  } else if (kind == "huber") {
    options.kind = LossOptions::huber;
    options.delta = readNumber(object, "delta", where, 1e-12, kLargest);
  } else if (kind == "source") {
    options.kind = LossOptions::source;
    options.text = readString(object, "source", where);
  } else {
    throw Failure("INVALID_VALUE", where + ".kind is '" + kind + "'. Expected crossEntropy, bceWithLogits, focal, mse, huber or source.");
  }
  if (!isAbsent(object, "classWeights")) {
    const at::Tensor weights = readFloats(object.Get("classWeights"), where + ".classWeights");
    const float* values = weights.const_data_ptr<float>();
    options.classWeights.assign(values, values + weights.numel());
  }
  return options;
}

OptimizerOptions readOptimizer(const Napi::Object& object, const std::string& where) {
  OptimizerOptions options;
  const std::string kind = readString(object, "kind", where);
  if (kind == "sgd") {
    options.kind = OptimizerOptions::sgd;
    options.momentum = readNumber(object, "momentum", where, 0, 1);
    options.dampening = readNumber(object, "dampening", where, 0, 1);
    options.nesterov = readBool(object, "nesterov", where);
    return options;
  }
  if (kind == "lbfgs") {
    options.kind = OptimizerOptions::lbfgs;
    options.maxIterations = readInteger(object, "maxIterations", where, 1, 1'000'000);
    options.historySize = readInteger(object, "historySize", where, 1, 1000);
    options.toleranceGradient = readNumber(object, "toleranceGradient", where, 0, kLargest);
    options.toleranceChange = readNumber(object, "toleranceChange", where, 0, kLargest);
    return options;
  }
  options.epsilon = readNumber(object, "epsilon", where, 0, kLargest);
  if (kind == "adam" || kind == "adamw") {
    options.kind = kind == "adam" ? OptimizerOptions::adam : OptimizerOptions::adamw;
    options.beta1 = readNumber(object, "beta1", where, 0, 1);
    options.beta2 = readNumber(object, "beta2", where, 0, 1);
    return options;
  }
  if (kind != "rmsprop") {
    throw Failure("INVALID_VALUE", where + ".kind is '" + kind + "'. Expected sgd, adam, adamw, rmsprop or lbfgs.");
  }
  options.kind = OptimizerOptions::rmsprop;
  options.alpha = readNumber(object, "alpha", where, 0, 1);
  options.momentum = readNumber(object, "momentum", where, 0, 1);
  options.centered = readBool(object, "centered", where);
  return options;
}

GroupLossOptions readGroupDro(const Napi::Object& object, const std::string& where) {
  return {readInteger(object, "groups", where, 1, 1'000'000), readNumber(object, "stepSize", where, 0, 1000)};
}

std::vector<GroupSpec> readGroups(const Napi::Value& value, const std::string& where) {
  if (!value.IsArray()) throw Failure("INVALID_TYPE", where + " must be an array.");
  auto array = value.As<Napi::Array>();
  std::vector<GroupSpec> groups;
  const uint32_t length = array.Length();
  for (uint32_t i = 0; i < length; ++i) {
    const std::string here = where + "[" + std::to_string(i) + "]";
    auto object = readObject(array.Get(i), here);
    GroupSpec group;
    group.parameters = readStrings(object.Get("parameters"), here + ".parameters");
    group.learningRate = readNumber(object, "learningRate", here, 0, kLargest);
    group.weightDecay = readNumber(object, "weightDecay", here, 0, kLargest);
    groups.push_back(std::move(group));
  }
  return groups;
}

template <size_t N>
std::array<double, N> readArrayOf(const Napi::Value& value, const std::string& where, double low, double high) {
  const std::vector<double> numbers = readNumbers(value, where, low, high);
  if (numbers.size() != N) {
    throw Failure("INVALID_VALUE", where + " has " + std::to_string(numbers.size()) + " numbers. Expected " + std::to_string(N) + ".");
  }
  std::array<double, N> result{};
  std::copy(numbers.begin(), numbers.end(), result.begin());
  return result;
}

std::array<double, 2> readRange(const Napi::Value& value, const std::string& where, double low, double high) {
  auto range = readArrayOf<2>(value, where, low, high);
  if (range[0] > range[1]) throw Failure("INVALID_VALUE", where + " must be [low, high].");
  return range;
}

ErasingOptions readErasing(const Napi::Object& object, const std::string& where) {
  ErasingOptions options;
  options.probability = readNumber(object, "probability", where, 0, 1);
  options.scale = readRange(object.Get("scale"), where + ".scale", 1e-4, 1);
  options.ratio = readRange(object.Get("ratio"), where + ".ratio", 1e-2, 1e2);
  const std::string value = readString(object, "value", where);
  if (value != "zero" && value != "noise") throw Failure("INVALID_VALUE", where + ".value is '" + value + "'. Expected zero or noise.");
  options.noise = value == "noise";
  return options;
}

AugmentOptions readAugment(const Napi::Object& object, const std::string& where) {
  AugmentOptions options;
  if (!isAbsent(object, "crop")) {
    auto crop = readObject(object.Get("crop"), where + ".crop");
    options.crop = CropRange{readRange(crop.Get("scale"), where + ".crop.scale", 1e-4, 1),
                             readRange(crop.Get("ratio"), where + ".crop.ratio", 1e-2, 1e2)};
  }
  options.horizontalFlip = readNumber(object, "horizontalFlip", where, 0, 1);
  options.verticalFlip = readNumber(object, "verticalFlip", where, 0, 1);
  options.rotation = readNumber(object, "rotation", where, 0, 180);
  options.brightness = readNumber(object, "brightness", where, 0, 100);
  options.contrast = readNumber(object, "contrast", where, 0, 100);
  options.saturation = readNumber(object, "saturation", where, 0, 100);
  options.hue = readNumber(object, "hue", where, 0, 0.5);
  if (!isAbsent(object, "randAugment")) {
    const std::string here = where + ".randAugment";
    auto random = readObject(object.Get("randAugment"), here);
    options.randAugment = RandAugmentOptions{readInteger(random, "operations", here, 1, 16), readInteger(random, "magnitude", here, 0, 30)};
  }
  if (!isAbsent(object, "erasing")) {
    const std::string here = where + ".erasing";
    options.erasing = readErasing(readObject(object.Get("erasing"), here), here);
  }
  if (!isAbsent(object, "mixup")) options.mix.mixup = readNumber(object, "mixup", where, 0, kLargestAlpha);
  if (!isAbsent(object, "cutmix")) options.mix.cutmix = readNumber(object, "cutmix", where, 0, kLargestAlpha);
  return options;
}

AnchorOptions readAnchor(const Napi::Object& object, const std::string& where) {
  AnchorOptions options;
  const std::string kind = readString(object, "kind", where);
  if (kind == "l2-sp") {
    options.kind = AnchorOptions::l2sp;
    options.alpha = readNumber(object, "alpha", where, 0, kLargest);
    options.beta = readNumber(object, "beta", where, 0, kLargest);
  } else if (kind == "ewc") {
    options.kind = AnchorOptions::ewc;
    options.lambda = readNumber(object, "lambda", where, 0, kLargest);
  } else {
    throw Failure("INVALID_VALUE", where + ".kind is '" + kind + "'. Expected l2-sp or ewc.");
  }
  return options;
}

DistillationOptions readDistillation(const Napi::Object& object, const std::string& where) {
  DistillationOptions options;
  options.weight = readNumber(object, "weight", where, 1e-12, kLargest);
  options.temperature = readNumber(object, "temperature", where, 1e-3, 1e6);
  options.layer = readString(object, "layer", where);
  options.classes = readInteger(object, "classes", where, 1, 1 << 24);
  return options;
}

ForgettingOptions readForgetting(const Napi::Object& object, const std::string& where) {
  ForgettingOptions options;
  if (!isAbsent(object, "anchor")) options.anchor = readAnchor(readObject(object.Get("anchor"), where + ".anchor"), where + ".anchor");
  if (!isAbsent(object, "distillation")) {
    options.distillation = readDistillation(readObject(object.Get("distillation"), where + ".distillation"), where + ".distillation");
  }
  for (const std::string& name : readStrings(object.Get("fresh"), where + ".fresh")) options.fresh.insert(name);
  return options;
}

}  // namespace

std::optional<Preprocess> readPreprocess(const Napi::Object& owner, const std::string& where) {
  if (isAbsent(owner, "preprocess")) return std::nullopt;
  const std::string here = where + ".preprocess";
  auto object = readObject(owner.Get("preprocess"), here);
  Preprocess preprocess;
  preprocess.mean = readArrayOf<3>(object.Get("mean"), here + ".mean", -1e6, 1e6);
  preprocess.std = readArrayOf<3>(object.Get("std"), here + ".std", 1e-6, 1e6);
  const auto size = readArrayOf<2>(object.Get("size"), here + ".size", 1, kMaxSide);
  preprocess.height = static_cast<int64_t>(size[0]);
  preprocess.width = static_cast<int64_t>(size[1]);
  return preprocess;
}

TrainingOptions readTrainingOptions(const Napi::Value& value) {
  const std::string where = "configure";
  auto object = readObject(value, where);
  TrainingOptions options;
  options.optimizer = readOptimizer(readObject(object.Get("optimizer"), where + ".optimizer"), where + ".optimizer");
  options.groups = readGroups(object.Get("groups"), where + ".groups");
  options.loss = readLoss(readObject(object.Get("loss"), where + ".loss"), where + ".loss");
  if (!isAbsent(object, "groupDro")) options.groupLoss = readGroupDro(readObject(object.Get("groupDro"), where + ".groupDro"), where + ".groupDro");
  options.clipNorm = readNumber(object, "clipNorm", where, 0, kLargest);
  options.accumulate = readInteger(object, "accumulate", where, 1, 1 << 20);
  if (options.optimizer.kind == OptimizerOptions::lbfgs && (options.clipNorm > 0 || options.accumulate > 1)) {
    throw Failure("INVALID_VALUE", where + ": lbfgs takes neither clipNorm nor accumulate.");
  }
  if (options.optimizer.kind == OptimizerOptions::lbfgs && options.groupLoss.groups > 0) {
    throw Failure("INVALID_VALUE", where + ": lbfgs minimises one function, and GroupDRO's changes with each evaluation.");
  }
  options.auxiliaryWeight = readNumber(object, "auxiliaryWeight", where, 0, 1e6);
  options.seed = readSeed(object.Get("seed"), where + ".seed");
  options.preprocess = readPreprocess(object, where);
  if (!isAbsent(object, "augment")) {
    if (!options.preprocess) throw Failure("INVALID_VALUE", where + ": augment needs preprocess.");
    options.augment = readAugment(readObject(object.Get("augment"), where + ".augment"), where + ".augment");
  }
  if (!isAbsent(object, "forgetting")) options.forgetting = readForgetting(readObject(object.Get("forgetting"), where + ".forgetting"), where + ".forgetting");
  return options;
}

}  // namespace torchgraft
