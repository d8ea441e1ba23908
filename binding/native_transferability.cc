#include "native_transferability.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "alone.h"
#include "failure.h"
#include "native_model.h"
#include "plain.h"
#include "requests.h"
#include "transferability.h"

namespace torchgraft {

namespace {

// Of class sums, and of all the weights of one call: 2 GiB of float64.
constexpr int64_t kMaxElements = int64_t{1} << 28;
constexpr double kLargestLambda = 1e30;
constexpr size_t kMostLambdas = 1024;

// float32 [n, d].
at::Tensor readFeatureMatrix(const Napi::Value& value, const std::string& verb, int64_t leastRows) {
  at::Tensor features = readTensor(value, verb + ": features");
  if (features.scalar_type() != at::kFloat) throw Failure("INVALID_TYPE", verb + ": features must be float32.");
  if (features.dim() != 2 || features.size(0) < leastRows || features.size(1) < 1) {
    throw Failure("SHAPE_MISMATCH", verb + ": features must be [n, d] with " + std::to_string(leastRows) + " or more rows; " + c10::str(features.sizes()) + " came.");
  }
  return features;
}

int64_t readClasses(const Napi::Value& value, const std::string& verb, int64_t columns) {
  if (!value.IsNumber()) throw Failure("INVALID_TYPE", verb + ": classes must be a number.");
  const double classes = value.As<Napi::Number>().DoubleValue();
  const int64_t most = std::min<int64_t>(1 << 16, kMaxElements / columns);
  if (!(classes >= 1 && classes <= static_cast<double>(most)) || classes != std::floor(classes)) {
    throw Failure("INVALID_VALUE", verb + ": classes must be a whole number from 1 to " + std::to_string(most) + ".");
  }
  return static_cast<int64_t>(classes);
}

// int64 [n], each below `classes`.
at::Tensor readLabels(const Napi::Value& value, const std::string& verb, int64_t rows, int64_t classes) {
  const at::Tensor labels = readInts(value, verb + ": labels").to(at::kLong);
  if (labels.numel() != rows) {
    throw Failure("SHAPE_MISMATCH", verb + ": " + std::to_string(rows) + " rows of features and " + std::to_string(labels.numel()) + " labels.");
  }
  if (labels.min().item<int64_t>() < 0 || labels.max().item<int64_t>() >= classes) {
    throw Failure("INVALID_VALUE", verb + ": labels must be 0 to classes - 1.");
  }
  return labels;
}

struct LabelledFeatures {
  at::Tensor features;
  at::Tensor labels;
  int64_t classes;
};

LabelledFeatures readLabelled(const Napi::CallbackInfo& info, const std::string& verb, int64_t leastRows) {
  LabelledFeatures given;
  given.features = readFeatureMatrix(info[0], verb, leastRows);
  given.classes = readClasses(info[2], verb, given.features.size(1));
  given.labels = readLabels(info[1], verb, given.features.size(0), given.classes);
  return given;
}

Finish number(double value) {
  return [value](Napi::Env env) { return Napi::Number::New(env, value); };
}

Finish solutionList(std::vector<RidgeSolution> solutions) {
  return [solutions = std::move(solutions)](Napi::Env env) {
    auto array = Napi::Array::New(env, solutions.size());
    for (uint32_t i = 0; i < solutions.size(); ++i) {
      auto object = Napi::Object::New(env);
      object.Set("weight", writeTensor(env, solutions[i].weight));
      object.Set("bias", writeTensor(env, solutions[i].bias));
      array.Set(i, object);
    }
    return array;
  };
}

Work ridgeWork(const Napi::CallbackInfo& info) {
  const std::string verb = "ridge";
  const at::Tensor features = readFeatureMatrix(info[0], verb, 1);
  at::Tensor targets = readTensor(info[1], verb + ": targets");
  if (!targets.is_floating_point()) throw Failure("INVALID_TYPE", verb + ": targets must be float32 or float64.");
  if (targets.dim() != 2 || targets.size(0) != features.size(0) || targets.size(1) < 1) {
    throw Failure("SHAPE_MISMATCH", verb + ": targets must be [n, c] with one row for each of the features; " + c10::str(targets.sizes()) + " came for " + c10::str(features.sizes()) + ".");
  }
  const auto lambdas = readNumbers(info[2], verb + ": lambdas", 0, kLargestLambda);
  if (lambdas.empty() || lambdas.size() > kMostLambdas) {
    throw Failure("INVALID_VALUE", verb + ": " + std::to_string(lambdas.size()) + " lambdas came; 1 to " + std::to_string(kMostLambdas) + " can be taken.");
  }
  if (features.size(1) > kMaxElements / targets.size(1) / static_cast<int64_t>(lambdas.size())) {
    throw Failure("INVALID_VALUE", verb + ": the weights of all lambdas would be more than 2^28.");
  }
  return [features, targets, lambdas] { return solutionList(ridge(features, targets.to(at::kDouble), lambdas)); };
}

}  // namespace

Napi::Value logMEOf(const Napi::CallbackInfo& info) {
  return runAlone(info, [&]() -> Work {
    const LabelledFeatures given = readLabelled(info, "logME", 1);
    return [given] { return number(logME(given.features, given.labels, given.classes)); };
  });
}

Napi::Value hScoreOf(const Napi::CallbackInfo& info) {
  return runAlone(info, [&]() -> Work {
    // One sample has no covariance.
    const LabelledFeatures given = readLabelled(info, "hScore", 2);
    if (!info[3].IsBoolean()) throw Failure("INVALID_TYPE", "hScore: shrinkage must be true or false.");
    const bool shrinkage = info[3].As<Napi::Boolean>().Value();
    return [given, shrinkage] { return number(hScore(given.features, given.labels, given.classes, shrinkage)); };
  });
}

Napi::Value ridgeOf(const Napi::CallbackInfo& info) {
  return runAlone(info, [&] { return ridgeWork(info); });
}

}  // namespace torchgraft
