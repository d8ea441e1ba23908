#include "requests.h"

#include "append_head.h"

#include <cmath>
#include <cstring>

#include "failure.h"
#include "plain.h"
#include "precision.h"

namespace torchgraft {

namespace {

constexpr double kLargest = 1e30;
constexpr int64_t kMaxClasses = 10'000'000;
// Weights between two layers of a new head: 1 GiB of float32.
constexpr int64_t kMaxWeights = int64_t{1} << 28;

at::Tensor readTyped(const Napi::Value& value, const std::string& where, napi_typedarray_type wanted, const char* name,
                     at::ScalarType scalar) {
  napi_typedarray_type type{};
  size_t length = 0;
  void* bytes = nullptr;
  if (!value.IsTypedArray() ||
      napi_get_typedarray_info(value.Env(), value, &type, &length, &bytes, nullptr, nullptr) != napi_ok || type != wanted) {
    throw Failure("INVALID_TYPE", where + " must be " + name + ".");
  }
  at::Tensor tensor = at::empty({static_cast<int64_t>(length)}, at::TensorOptions(scalar));
  if (length > 0 && bytes != nullptr) std::memcpy(tensor.mutable_data_ptr(), bytes, tensor.nbytes());
  return tensor;
}

}  // namespace

at::Tensor readInts(const Napi::Value& value, const std::string& where) {
  return readTyped(value, where, napi_int32_array, "an Int32Array", at::kInt);
}

at::Tensor readBytes(const Napi::Value& value, const std::string& where) {
  return readTyped(value, where, napi_uint8_array, "a path or a Uint8Array", at::kByte);
}

at::Tensor readFloats(const Napi::Value& value, const std::string& where) {
  return readTyped(value, where, napi_float32_array, "a Float32Array", at::kFloat);
}

uint64_t readSeed(const Napi::Value& value, const std::string& where) {
  if (!value.IsNumber()) throw Failure("INVALID_TYPE", where + " must be a number.");
  const double seed = value.As<Napi::Number>().DoubleValue();
  if (!(seed >= 0 && seed <= 9007199254740991.0) || seed != std::floor(seed)) {
    throw Failure("INVALID_VALUE", where + " must be a whole number from 0 to 2^53 - 1.");
  }
  return static_cast<uint64_t>(seed);
}

HeadRequest readHeadRequest(const Napi::Value& value) {
  const std::string where = "replaceHead";
  auto object = readObject(value, where);
  HeadRequest request;
  request.layer = readString(object, "layer", where);
  request.classes = readInteger(object, "classes", where, 1, kMaxClasses);
  request.seed = readSeed(object.Get("seed"), where + ".seed");
  for (double width : readNumbers(object.Get("hidden"), where + ".hidden", 1, 1 << 20)) {
    request.hidden.push_back(static_cast<int64_t>(width));
  }
  for (size_t i = 0; i < request.hidden.size(); ++i) {
    const int64_t next = i + 1 < request.hidden.size() ? request.hidden[i + 1] : request.classes;
    if (request.hidden[i] > kMaxWeights / next) {
      throw Failure("INVALID_VALUE", where + ": a hidden layer of " + std::to_string(request.hidden[i]) + " before one of " +
                                         std::to_string(next) + " has more than 2^28 weights.");
    }
  }
  if (request.hidden.size() > 16) throw Failure("INVALID_VALUE", where + ".hidden has more than 16 layers.");
  request.dropout = readNumber(object, "dropout", where, 0, 0.999);
  request.standardise = readBool(object, "standardise", where);
  if (!isAbsent(object, "cosine")) {
    auto cosine = readObject(object.Get("cosine"), where + ".cosine");
    request.cosine = CosineOptions{readNumber(cosine, "scale", where + ".cosine", 1e-6, 1e6), readBool(cosine, "learnsScale", where + ".cosine")};
    if (request.standardise) throw Failure("INVALID_VALUE", where + ": a cosine head normalises its input by itself. Leave `standardise` out.");
  }
  if (!isAbsent(object, "pooling")) {
    request.pooling = readString(object, "pooling", where);
    if (request.pooling != "avg" && request.pooling != "concat") throw Failure("INVALID_VALUE", where + ".pooling is '" + request.pooling + "'. Expected avg or concat.");
  }
  if (!isAbsent(object, "append")) {
    request.append = readString(object, "append", where);
    if (!isAppendable(request.append)) throw Failure("INVALID_VALUE", where + ".append is '" + request.append + "'. Expected pooled, classToken or both.");
    if (!request.layer.empty() || !request.pooling.empty()) throw Failure("INVALID_VALUE", where + ": `append` puts a layer behind the whole network. Leave `layer` and `pooling` out.");
  }
  request.example = readTensors(object.Get("example"), where + ".example");
  return request;
}

AdapterRequest readAdapterRequest(const Napi::Value& value) {
  const std::string where = "addAdapters";
  auto object = readObject(value, where);
  AdapterRequest request;
  request.layers = readStrings(object.Get("layers"), where + ".layers");
  request.rank = readInteger(object, "rank", where, 1, 1 << 16);
  request.scale = readNumber(object, "scale", where, 1e-9, 1e9);
  request.seed = readSeed(object.Get("seed"), where + ".seed");
  return request;
}

AdapterContent readAdapterContent(const Napi::Value& value) {
  constexpr uint32_t kMostTensors = 1 << 16;
  const std::string where = "putAdapters";
  auto object = readObject(value, where);
  AdapterContent content;
  if (!isAbsent(object, "head")) content.head = readHeadRequest(object.Get("head"));
  content.adapters = readAdapterRequest(object.Get("adapters"));
  content.down = readTensors(object.Get("down"), where + ": down", kMostTensors);
  content.up = readTensors(object.Get("up"), where + ": up", kMostTensors);
  const size_t layers = content.adapters.layers.size();
  if (content.down.size() != layers || content.up.size() != layers) {
    throw Failure("SHAPE_MISMATCH", where + ": " + std::to_string(layers) + " layer(s), but other numbers of tensors.");
  }
  auto names = readStrings(object.Get("names"), where + ": names");
  auto values = readTensors(object.Get("values"), where + ": values", kMostTensors);
  if (names.size() != values.size()) throw Failure("SHAPE_MISMATCH", where + ": " + std::to_string(names.size()) + " name(s), but other numbers of tensors.");
  for (size_t i = 0; i < names.size(); ++i) content.values.emplace_back(std::move(names[i]), std::move(values[i]));
  return content;
}

std::vector<int64_t> readRows(const Napi::Value& value, const std::string& where) {
  const at::Tensor rows = readInts(value, where);
  if (rows.numel() == 0) throw Failure("SHAPE_MISMATCH", where + " is empty.");
  return {rows.const_data_ptr<int32_t>(), rows.const_data_ptr<int32_t>() + rows.numel()};
}

Batch readBatch(const Napi::Value& value, const std::string& where, bool needsTarget) {
  auto object = readObject(value, where);
  Batch batch;
  if (isAbsent(object, "rows")) {
    batch.inputs = readTensors(object.Get("inputs"), where + ": inputs");
  } else {
    batch.rows = readRows(object.Get("rows"), where + ": rows");
  }
  if (needsTarget || !isAbsent(object, "target")) batch.target = readTensor(object.Get("target"), where + ": target");
  if (!isAbsent(object, "weights")) batch.weights = readFloats(object.Get("weights"), where + ": weights");
  if (!isAbsent(object, "groups")) batch.groups = readInts(object.Get("groups"), where + ": groups");
  if (!isAbsent(object, "indices")) batch.indices = readInts(object.Get("indices"), where + ": indices");
  if (!isAbsent(object, "sizes")) {
    batch.sizes = readInts(object.Get("sizes"), where + ": sizes");
    if (batch.sizes.numel() % 2 != 0) throw Failure("SHAPE_MISMATCH", where + ": sizes must hold a width and a height for each image.");
    batch.sizes = batch.sizes.view({-1, 2});
  }
  if (!isAbsent(object, "epoch")) batch.epoch = static_cast<uint64_t>(readInteger(object, "epoch", where, 0, int64_t{1} << 53));
  if (!isAbsent(object, "learningRates")) {
    batch.learningRates = readNumbers(object.Get("learningRates"), where + ": learningRates", 0, kLargest);
  }
  if (!isAbsent(object, "flush")) batch.flush = readBool(object, "flush", where);
  return batch;
}

TestViews readTestViews(const Napi::Value& value) {
  const std::string where = "evaluate";
  auto object = readObject(value, where);
  TestViews views;
  if (!isAbsent(object, "crops")) views.crops = readInteger(object, "crops", where, 1, 1024);
  if (!isAbsent(object, "mirrored")) views.mirrored = readBool(object, "mirrored", where);
  return views;
}

std::optional<at::ScalarType> readPrecision(const Napi::Object& object, const std::string& where) {
  const std::string name = readString(object, "precision", where);
  if (name == "auto") return std::nullopt;
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    if (name == precisionName(dtype)) return dtype;
  }
  throw Failure("INVALID_VALUE", where + ".precision is '" + name + "'. Expected auto, float32, bfloat16 or float16.");
}

PlanRequest readPlanRequest(const Napi::Value& value) {
  const std::string where = "plan";
  auto object = readObject(value, where);
  return {readPrecision(object, where), readBool(object, "split", where)};
}

KnownPlan readKnownPlan(const Napi::Value& value) {
  const std::string where = "usePlan";
  auto object = readObject(value, where);
  KnownPlan known;
  known.variant = readString(object, "variant", where);
  if (known.variant != "fused" && known.variant != "folded" && known.variant != "exact") {
    throw Failure("INVALID_VALUE", where + ".variant is '" + known.variant + "'. Expected fused, folded or exact.");
  }
  const auto precision = readPrecision(object, where);
  if (!precision) throw Failure("INVALID_VALUE", where + ".precision must be known, not auto.");
  known.precision = *precision;
  known.cacheable = readBool(object, "cacheable", where);
  const Napi::Value crossings = object.Get("crossings");
  if (!crossings.IsArray()) throw Failure("INVALID_TYPE", where + ".crossings must be an array.");
  const auto list = crossings.As<Napi::Array>();
  int64_t elements = 0;
  for (uint32_t i = 0; i < list.Length(); ++i) {
    const std::string here = where + ".crossings[" + std::to_string(i) + "]";
    auto item = readObject(list.Get(i), here);
    Crossing crossing;
    crossing.dtype = readString(item, "dtype", here);
    int64_t count = 1;
    for (double side : readNumbers(item.Get("shape"), here + ".shape", 1, 1 << 24)) {
      crossing.shape.push_back(static_cast<int64_t>(side));
      if (count > (int64_t{1} << 32) / crossing.shape.back()) throw Failure("INVALID_VALUE", here + ".shape is too large.");
      count *= crossing.shape.back();
    }
    elements += count;
    known.crossings.push_back(std::move(crossing));
  }
  if (known.cacheable && elements == 0) throw Failure("INVALID_VALUE", where + ": nothing crosses that could be kept.");
  return known;
}

ServingRequest readServingRequest(const Napi::Value& value) {
  const std::string where = "optimise";
  auto object = readObject(value, where);
  ServingRequest request;
  request.precision = readPrecision(object, where);
  request.example.inputs.push_back(readTensor(object.Get("example"), where + ".example"));
  request.preprocess = readPreprocess(object, where);
  if (!request.preprocess) throw Failure("INVALID_TYPE", where + ": needs preprocess.");
  if (!isAbsent(object, "samples")) {
    request.samples.inputs.push_back(readTensor(object.Get("samples"), where + ".samples"));
    if (request.samples.inputs[0].dim() == 0 || request.samples.inputs[0].size(0) == 0) throw Failure("SHAPE_MISMATCH", where + ".samples has no image.");
  }
  return request;
}

FeatureStoreOptions readFeatureOptions(const Napi::Value& value) {
  const std::string where = "openFeatures";
  auto object = readObject(value, where);
  constexpr int64_t kMost = int64_t{1} << 50;
  FeatureStoreOptions options;
  options.path = readString(object, "path", where);
  if (options.path.find('\0') != std::string::npos) throw Failure("INVALID_VALUE", where + ".path holds a zero byte.");
  options.identity = readString(object, "identity", where);
  options.label = readString(object, "label", where);
  options.memoryBytes = readInteger(object, "memoryBytes", where, 0, kMost);
  options.fileBytes = readInteger(object, "fileBytes", where, 0, kMost);
  return options;
}

std::vector<FeatureKey> readKeys(const Napi::Value& value, const std::string& where) {
  const at::Tensor bytes = readBytes(value, where);
  constexpr int64_t kBytes = std::tuple_size<FeatureKey>::value;
  if (bytes.numel() == 0 || bytes.numel() % kBytes != 0) {
    throw Failure("SHAPE_MISMATCH", where + " must hold 32 bytes a key; " + std::to_string(bytes.numel()) + " came.");
  }
  std::vector<FeatureKey> keys(bytes.numel() / kBytes);
  std::memcpy(keys.data(), bytes.const_data_ptr(), bytes.nbytes());
  return keys;
}

FeatureBatch readFeatureBatch(const Napi::Value& value) {
  const std::string where = "storeFeatures";
  FeatureBatch request;
  request.batch = readBatch(value, where, false);
  auto object = readObject(value, where);
  request.keys = readKeys(object.Get("keys"), where + ": keys");
  if (!isAbsent(object, "augmentSeed")) request.augmentSeed = readSeed(object.Get("augmentSeed"), where + ": augmentSeed");
  return request;
}

ExtraFiles readExtra(const Napi::Value& value, const std::string& where) {
  auto object = readObject(value, where);
  ExtraFiles extra;
  auto names = object.GetPropertyNames();
  const uint32_t length = names.Length();
  for (uint32_t i = 0; i < length; ++i) {
    const std::string name = stringOf(names.Get(i), where);
    if (name != kExtraFile) throw Failure("INVALID_VALUE", where + ": the only extra file is '" + kExtraFile + "', not '" + name + "'.");
    extra[name] = stringOf(object.Get(name), where + "." + name);
  }
  return extra;
}

Napi::Array writeStrings(Napi::Env env, const std::vector<std::string>& strings) {
  auto array = Napi::Array::New(env, strings.size());
  for (uint32_t i = 0; i < strings.size(); ++i) array.Set(i, strings[i]);
  return array;
}

Napi::Value writeNewHead(Napi::Env env, const NewHead& made) {
  auto object = Napi::Object::New(env);
  object.Set("parameters", writeStrings(env, made.parameters));
  object.Set("layers", writeStrings(env, made.layers));
  object.Set("cut", writeStrings(env, made.cut));
  Napi::Value standardiser = env.Null();
  if (!made.standardiser.empty()) {
    auto names = Napi::Object::New(env);
    names.Set("mean", made.standardiser + ".mean");
    names.Set("std", made.standardiser + ".std");
    standardiser = names;
  }
  object.Set("standardiser", standardiser);
  return object;
}

Napi::Value writeStep(Napi::Env env, const StepResult& result) {
  auto object = Napi::Object::New(env);
  object.Set("loss", result.loss);
  object.Set("penalty", result.penalty);
  object.Set("correct", static_cast<double>(result.correct));
  object.Set("count", static_cast<double>(result.count));
  object.Set("gradientNorm", result.gradientNorm);
  object.Set("seconds", result.seconds);
  return object;
}

namespace {

Napi::Value writeTrial(Napi::Env env, const PlanTrial& trial) {
  auto object = Napi::Object::New(env);
  object.Set("variant", trial.variant);
  object.Set("precision", trial.precision);
  object.Set("milliseconds", trial.milliseconds);
  // JSON has no NaN.
  const auto number = [env](double value) -> Napi::Value { return std::isfinite(value) ? Napi::Number::New(env, value) : env.Null(); };
  object.Set("outputDifference", number(trial.outputDifference));
  object.Set("gradientDifference", number(trial.gradientDifference));
  object.Set("accepted", trial.accepted);
  object.Set("failure", trial.failure);
  return object;
}

Napi::Value writeCrossing(Napi::Env env, const Crossing& crossing) {
  auto object = Napi::Object::New(env);
  auto shape = Napi::Array::New(env, crossing.shape.size());
  for (uint32_t i = 0; i < crossing.shape.size(); ++i) shape.Set(i, static_cast<double>(crossing.shape[i]));
  object.Set("shape", shape);
  object.Set("dtype", crossing.dtype);
  return object;
}

template <class Item, class Write>
Napi::Array writeList(Napi::Env env, const std::vector<Item>& items, const Write& write) {
  auto array = Napi::Array::New(env, items.size());
  for (uint32_t i = 0; i < items.size(); ++i) array.Set(i, write(env, items[i]));
  return array;
}

}  // namespace

Napi::Value writeServing(Napi::Env env, const ServingReport& report) {
  auto object = Napi::Object::New(env);
  object.Set("precision", report.precision);
  object.Set("layout", report.layout);
  object.Set("difference", report.difference);
  object.Set("seconds", report.seconds);
  object.Set("float32Seconds", report.float32Seconds);
  return object;
}

Napi::Value writePlan(Napi::Env env, const PlanReport& report) {
  auto object = Napi::Object::New(env);
  object.Set("remembered", report.remembered);
  object.Set("split", report.split);
  object.Set("reason", report.reason);
  object.Set("variant", report.variant);
  object.Set("precision", report.precision);
  object.Set("precisionReason", report.precisionReason);
  object.Set("prefixLayers", writeStrings(env, report.prefixLayers));
  object.Set("suffixLayers", writeStrings(env, report.suffixLayers));
  object.Set("crossings", writeList(env, report.crossings, writeCrossing));
  object.Set("cacheable", report.cacheable);
  object.Set("prefixFlops", static_cast<double>(report.prefixFlops));
  object.Set("totalFlops", static_cast<double>(report.totalFlops));
  object.Set("key", report.key);
  object.Set("trials", writeList(env, report.trials, writeTrial));
  return object;
}

Napi::Value writeEvaluation(Napi::Env env, const Evaluation& result) {
  auto object = Napi::Object::New(env);
  object.Set("loss", result.loss);
  object.Set("logits", writeTensor(env, result.logits));
  return object;
}

Napi::Value writeRows(Napi::Env env, const std::vector<int64_t>& rows) {
  auto array = Napi::Int32Array::New(env, rows.size());
  for (size_t i = 0; i < rows.size(); ++i) array[i] = static_cast<int32_t>(rows[i]);
  return array;
}

Napi::Value writeExtra(Napi::Env env, const std::string& json) {
  auto object = Napi::Object::New(env);
  if (!json.empty()) object.Set(kExtraFile, json);
  return object;
}

}  // namespace torchgraft
