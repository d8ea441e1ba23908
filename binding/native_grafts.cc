// The methods of NativeModel that change what forward computes with, beside replaceHead: adapters and input channels.
#include "failure.h"
#include "input_channels.h"
#include "lora.h"
#include "native_model.h"
#include "plain.h"
#include "requests.h"

namespace torchgraft {

Napi::Value NativeModel::change(const Napi::CallbackInfo& info, const char* verb, std::function<void(Model&)> work) {
  return run(info, [this, verb, work = std::move(work)](Loaded& loaded) -> Finish {
    refuseServing(loaded, verb);
    work(*loaded.model);
    loaded.trainer.reset();
    return [this, size = loaded.model->bytes()](Napi::Env env) {
      reportBytes(env, size);
      return env.Undefined();
    };
  });
}

Napi::Value NativeModel::addAdapters(const Napi::CallbackInfo& info) {
  return change(info, "addAdapters", [request = readAdapterRequest(info[0])](Model& model) { torchgraft::addAdapters(model, request); });
}

Napi::Value NativeModel::mergeAdapters(const Napi::CallbackInfo& info) {
  return change(info, "mergeAdapters", [](Model& model) { torchgraft::mergeAdapters(model); });
}

Napi::Value NativeModel::putAdapters(const Napi::CallbackInfo& info) {
  return run(info, [this, content = readAdapterContent(info[0])](Loaded& loaded) -> Finish {
    refuseServing(loaded, "putAdapters");
    NewHead made = torchgraft::putAdapters(*loaded.model, content);
    loaded.trainer.reset();
    return [this, made = std::move(made), size = loaded.model->bytes()](Napi::Env env) {
      reportBytes(env, size);
      return writeNewHead(env, made);
    };
  });
}

Napi::Value NativeModel::adaptInput(const Napi::CallbackInfo& info) {
  auto request = readObject(info[0], "adaptInput");
  const int64_t channels = readInteger(request, "channels", "adaptInput", 1, 4096);
  auto example = readTensors(request.Get("example"), "adaptInput: example");
  return change(info, "adaptInput", [channels, example = std::move(example)](Model& model) { torchgraft::adaptInput(model, channels, example); });
}

}  // namespace torchgraft
