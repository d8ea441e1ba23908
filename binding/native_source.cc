// The methods of NativeModel that keep what a model was before it is fine-tuned.
#include "failure.h"
#include "native_model.h"
#include "plain.h"
#include "requests.h"

namespace torchgraft {

namespace {

Source& sourceOf(Loaded& loaded, const char* verb) {
  refuseServing(loaded, verb);
  if (!loaded.source) throw Failure("INVALID_VALUE", std::string(verb) + ": no source is kept. Call keepSource() first.");
  return *loaded.source;
}

}  // namespace

Napi::Value NativeModel::keepSource(const Napi::CallbackInfo& info) {
  return run(info, [](Loaded& loaded) {
    refuseServing(loaded, "keepSource");
    loaded.source = std::make_shared<Source>(*loaded.model);
    return nothing();
  });
}

Napi::Value NativeModel::dropSource(const Napi::CallbackInfo& info) {
  return run(info, [](Loaded& loaded) {
    loaded.source.reset();
    return nothing();
  });
}

Napi::Value NativeModel::addFisher(const Napi::CallbackInfo& info) {
  Batch batch = readBatch(info[0], "addFisher", false);
  auto object = readObject(info[0], "addFisher");
  auto preprocess = readPreprocess(object, "addFisher");
  const uint64_t seed = readSeed(object.Get("seed"), "addFisher: seed");
  return run(info, [batch = std::move(batch), preprocess, seed](Loaded& loaded) {
    Source& source = sourceOf(loaded, "addFisher");
    if (batch.inputs.empty()) throw Failure("SHAPE_MISMATCH", "addFisher: no inputs came.");
    source.addFisher(*loaded.model, preparedInputs(batch, preprocess, loaded.model->device()), batch.target, seed);
    return nothing();
  });
}

Napi::Value NativeModel::fisher(const Napi::CallbackInfo& info) {
  return run(info, [names = readStrings(info[0], "fisher: names")](Loaded& loaded) -> Finish {
    const Source& source = sourceOf(loaded, "fisher");
    std::vector<at::Tensor> tensors;
    for (const auto& name : names) {
      source.at(name);
      const at::Tensor fisher = source.fisher(name);
      tensors.push_back(fisher.defined() ? detachForJs(fisher).toTensor() : at::Tensor());
    }
    return [tensors = std::move(tensors)](Napi::Env env) { return writeTensors(env, tensors); };
  });
}

Napi::Value NativeModel::joinSourceHead(const Napi::CallbackInfo& info) {
  return run(info, [this, layer = stringOf(info[0], "joinSourceHead: layer")](Loaded& loaded) -> Finish {
    torchgraft::joinSourceHead(*loaded.model, sourceOf(loaded, "joinSourceHead"), layer);
    // Parameters are new tensors now.
    loaded.trainer.reset();
    return [this, size = loaded.model->bytes()](Napi::Env env) {
      reportBytes(env, size);
      return env.Undefined();
    };
  });
}

Napi::Value NativeModel::partSourceHead(const Napi::CallbackInfo& info) {
  const auto layer = stringOf(info[0], "partSourceHead: layer");
  if (!info[1].IsNumber()) throw Failure("INVALID_TYPE", "partSourceHead: outputs must be a number.");
  const double outputs = info[1].As<Napi::Number>().DoubleValue();
  if (!(outputs >= 1 && outputs <= 1 << 24)) throw Failure("INVALID_VALUE", "partSourceHead: outputs must be from 1 to 16777216.");
  return run(info, [this, layer, outputs](Loaded& loaded) -> Finish {
    refuseServing(loaded, "partSourceHead");
    torchgraft::partSourceHead(*loaded.model, layer, static_cast<int64_t>(outputs));
    loaded.trainer.reset();
    return [this, size = loaded.model->bytes()](Napi::Env env) {
      reportBytes(env, size);
      return env.Undefined();
    };
  });
}

}  // namespace torchgraft
