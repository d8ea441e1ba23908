// JavaScript requests -> C++ structs, every field checked; results -> JavaScript.
#pragma once

#include <napi.h>

#include <optional>
#include <string>

#include "adapter_content.h"
#include "head.h"
#include "lora.h"
#include "serving.h"
#include "trainer.h"

namespace torchgraft {

struct ServingRequest {
  std::optional<at::ScalarType> precision;
  // Images, and how they become the model's input.
  Batch example;
  std::optional<Preprocess> preprocess;
  // Images whose values give the ranges of 8-bit numbers; none for float convolutions.
  Batch samples;
};

HeadRequest readHeadRequest(const Napi::Value& value);
// { layers, rank, scale, seed }
AdapterRequest readAdapterRequest(const Napi::Value& value);
// { head: NativeHead | null, adapters, down, up, names, values }
AdapterContent readAdapterContent(const Napi::Value& value);
TrainingOptions readTrainingOptions(const Napi::Value& value);
// The property `preprocess` of `object`; empty when it is absent.
std::optional<Preprocess> readPreprocess(const Napi::Object& object, const std::string& where);
Batch readBatch(const Napi::Value& value, const std::string& where, bool needsTarget);
// The properties `crops` and `mirrored` of a batch to evaluate; both may be absent.
TestViews readTestViews(const Napi::Value& value);
// { precision: 'auto' | 'float32' | 'bfloat16' | 'float16', split: boolean }
PlanRequest readPlanRequest(const Napi::Value& value);
// { variant, precision, crossings: [{ shape, dtype }], cacheable }
KnownPlan readKnownPlan(const Napi::Value& value);
// { precision, example: { data, shape, dtype }, preprocess }
ServingRequest readServingRequest(const Napi::Value& value);
// { path, identity, label, memoryBytes, fileBytes }
FeatureStoreOptions readFeatureOptions(const Napi::Value& value);
// A Uint8Array of 32 bytes a key.
std::vector<FeatureKey> readKeys(const Napi::Value& value, const std::string& where);
// An Int32Array of row numbers, not empty.
std::vector<int64_t> readRows(const Napi::Value& value, const std::string& where);
// A batch with `keys` and perhaps `augmentSeed`.
FeatureBatch readFeatureBatch(const Napi::Value& value);
ExtraFiles readExtra(const Napi::Value& value, const std::string& where);
uint64_t readSeed(const Napi::Value& value, const std::string& where);
// A Uint8Array, copied.
at::Tensor readBytes(const Napi::Value& value, const std::string& where);
// An Int32Array, copied.
at::Tensor readInts(const Napi::Value& value, const std::string& where);
// A Float32Array, copied.
at::Tensor readFloats(const Napi::Value& value, const std::string& where);

Napi::Value writeNewHead(Napi::Env env, const NewHead& made);
Napi::Value writeStep(Napi::Env env, const StepResult& result);
Napi::Value writeServing(Napi::Env env, const ServingReport& report);
Napi::Value writePlan(Napi::Env env, const PlanReport& report);
Napi::Value writeEvaluation(Napi::Env env, const Evaluation& result);
// Row numbers as an Int32Array.
Napi::Value writeRows(Napi::Env env, const std::vector<int64_t>& rows);
Napi::Value writeExtra(Napi::Env env, const std::string& json);
Napi::Array writeStrings(Napi::Env env, const std::vector<std::string>& strings);

}  // namespace torchgraft
