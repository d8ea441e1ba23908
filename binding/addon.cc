// What the addon exports: load, inspectFile, decodeJpeg, resizePixels, logME, hScore, ridge, info and live. One instance of state for each environment.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <napi.h>
#include <node_api.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/headeronly/version.h>

#include <unordered_set>

#include "decode.h"
#include "jpeg.h"
#include "memory.h"
#include "model_prints.h"
#include "native_inspect.h"
#include "native_model.h"
#include "native_transferability.h"
#include "precision.h"

namespace torchgraft {

namespace {

std::string compiledVersion() {
  return std::to_string(TORCH_VERSION_MAJOR) + "." + std::to_string(TORCH_VERSION_MINOR) + "." + std::to_string(TORCH_VERSION_PATCH);
}

// The version of the libtorch in this process, which may not be the one the addon was compiled with.
std::string runningVersion() {
  const uint64_t version = aoti_torch_abi_version();
  return std::to_string(version >> 56 & 0xff) + "." + std::to_string(version >> 48 & 0xff) + "." + std::to_string(version >> 40 & 0xff);
}

Napi::Value info(const Napi::CallbackInfo& call) {
  Napi::Env env = call.Env();
  auto object = Napi::Object::New(env);
  object.Set("torch", runningVersion());
  object.Set("compiledFor", compiledVersion());
  object.Set("napi", Napi::VersionManagement::GetNapiVersion(env));
  object.Set("cpuCapability", at::get_cpu_capability());
  const bool cuda = at::hasCUDA();
  object.Set("cuda", cuda);
  object.Set("gpus", cuda ? static_cast<int>(at::detail::getCUDAHooks().deviceCount()) : 0);
  object.Set("threads", at::get_num_threads());
  object.Set("jpeg", decodesJpeg());
  return object;
}

Napi::Value live(const Napi::CallbackInfo& call) {
  auto object = Napi::Object::New(call.Env());
  object.Set("models", NativeModel::live());
  object.Set("tasks", Session::liveTasks());
  return object;
}

// One for each realm of this thread that has loaded the addon: test runners make a realm for every file.
std::unordered_set<AddonState*>& statesOfThread() {
  thread_local std::unordered_set<AddonState*> states;
  return states;
}

void forget(Napi::Env, AddonState* state) {
  statesOfThread().erase(state);
  delete state;
}

// process.exit() runs no environment cleanup: without this, libtorch's static objects would be destroyed under a step. All
// realms share one listener, since Node warns of more than ten.
void endWithProcess(Napi::Env env, AddonState* state) {
  const bool isFirst = statesOfThread().empty();
  statesOfThread().insert(state);
  if (!isFirst) return;
  auto process = env.Global().Get("process").As<Napi::Object>();
  auto end = Napi::Function::New(env, [](const Napi::CallbackInfo&) {
    for (AddonState* state : statesOfThread()) state->sessions.end();
  });
  process.Get("on").As<Napi::Function>().Call(process, {Napi::String::New(env, "exit"), end});
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  keepFreedMemory();
  keepFloat32Exact();
  sendPrintsToStandardError();
  auto* state = new AddonState;
  env.SetInstanceData<AddonState, forget>(state);
  state->constructor = Napi::Persistent(NativeModel::define(env));
  state->arrayBuffer = Napi::Persistent(env.Global().Get("ArrayBuffer").As<Napi::Function>());
  exports.Set("load", Napi::Function::New<NativeModel::load>(env, "load"));
  exports.Set("inspectFile", Napi::Function::New<inspectFile>(env, "inspectFile"));
  exports.Set("decodeJpeg", Napi::Function::New<decodeJpegInto>(env, "decodeJpeg"));
  exports.Set("resizePixels", Napi::Function::New<resizePixelsInto>(env, "resizePixels"));
  exports.Set("logME", Napi::Function::New<logMEOf>(env, "logME"));
  exports.Set("hScore", Napi::Function::New<hScoreOf>(env, "hScore"));
  exports.Set("ridge", Napi::Function::New<ridgeOf>(env, "ridge"));
  exports.Set("info", Napi::Function::New<info>(env, "info"));
  exports.Set("live", Napi::Function::New<live>(env, "live"));
  endWithProcess(env, state);
  return exports;
}

}  // namespace

}  // namespace torchgraft

static Napi::Object Init(Napi::Env env, Napi::Object exports) { return torchgraft::init(env, exports); }

NODE_API_MODULE(torchgraft, Init)
