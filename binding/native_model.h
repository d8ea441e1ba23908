// The JavaScript class NativeModel: checks arguments, refuses misuse, and hands work to the model's thread.
#pragma once

#include <napi.h>

#include <memory>
#include <unordered_set>

#include "file_or_bytes.h"
#include "model.h"
#include "serving.h"
#include "session.h"
#include "source.h"
#include "trainer.h"

namespace torchgraft {

// Kept by a running task as well as by the JavaScript object, so that neither can free it under the other.
struct Loaded {
  std::unique_ptr<Model> model;
  std::unique_ptr<Trainer> trainer;
  // Once there is one, the model only predicts.
  std::unique_ptr<Serving> serving;
  // Weights that a training shall not forget.
  std::shared_ptr<Source> source;
};

// What a job that gives no value ends with.
Finish nothing();
// Throws Failure("MODEL_FROZEN") where the model only predicts; `verb` opens the message.
void refuseServing(const Loaded& loaded, const char* verb);
// Throws Failure("NOT_TRAINABLE") before configure().
Trainer& trainerOf(Loaded& loaded, const char* verb);

class NativeModel : public Napi::ObjectWrap<NativeModel> {
 public:
  static Napi::Function define(Napi::Env env);
  // load(source, { device, threads, safe? }) -> Promise<NativeModel>
  static Napi::Value load(const Napi::CallbackInfo& info);
  static int live();

  explicit NativeModel(const Napi::CallbackInfo& info);
  ~NativeModel() override;

 private:
  template <Napi::Value (NativeModel::*Method)(const Napi::CallbackInfo&)>
  Napi::Value guarded(const Napi::CallbackInfo& info);
  template <Napi::Value (NativeModel::*Method)(const Napi::CallbackInfo&)>
  static Napi::ClassPropertyDescriptor<NativeModel> method(const char* name);

  Napi::Value describe(const Napi::CallbackInfo& info);
  Napi::Value values(const Napi::CallbackInfo& info);
  Napi::Value setValues(const Napi::CallbackInfo& info);
  Napi::Value gradients(const Napi::CallbackInfo& info);
  Napi::Value forward(const Napi::CallbackInfo& info);
  Napi::Value setTrainable(const Napi::CallbackInfo& info);
  Napi::Value replaceHead(const Napi::CallbackInfo& info);
  Napi::Value nameHeads(const Napi::CallbackInfo& info);
  Napi::Value addAdapters(const Napi::CallbackInfo& info);
  Napi::Value mergeAdapters(const Napi::CallbackInfo& info);
  Napi::Value putAdapters(const Napi::CallbackInfo& info);
  Napi::Value adaptInput(const Napi::CallbackInfo& info);
  Napi::Value reinitialise(const Napi::CallbackInfo& info);
  Napi::Value estimateStatistics(const Napi::CallbackInfo& info);
  Napi::Value configure(const Napi::CallbackInfo& info);
  Napi::Value plan(const Napi::CallbackInfo& info);
  Napi::Value planKey(const Napi::CallbackInfo& info);
  Napi::Value usePlan(const Napi::CallbackInfo& info);
  Napi::Value optimise(const Napi::CallbackInfo& info);
  Napi::Value openFeatures(const Napi::CallbackInfo& info);
  Napi::Value findFeatures(const Napi::CallbackInfo& info);
  Napi::Value storeFeatures(const Napi::CallbackInfo& info);
  Napi::Value readFeatures(const Napi::CallbackInfo& info);
  Napi::Value keepSource(const Napi::CallbackInfo& info);
  Napi::Value dropSource(const Napi::CallbackInfo& info);
  Napi::Value addFisher(const Napi::CallbackInfo& info);
  Napi::Value fisher(const Napi::CallbackInfo& info);
  Napi::Value joinSourceHead(const Napi::CallbackInfo& info);
  Napi::Value partSourceHead(const Napi::CallbackInfo& info);
  Napi::Value step(const Napi::CallbackInfo& info);
  Napi::Value evaluate(const Napi::CallbackInfo& info);
  Napi::Value gradCam(const Napi::CallbackInfo& info);
  Napi::Value keepBest(const Napi::CallbackInfo& info);
  Napi::Value restoreBest(const Napi::CallbackInfo& info);
  Napi::Value save(const Napi::CallbackInfo& info);
  Napi::Value saveCheckpoint(const Napi::CallbackInfo& info);
  Napi::Value loadCheckpoint(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);
  Napi::Value bytes(const Napi::CallbackInfo& info);
  Napi::Value extra(const Napi::CallbackInfo& info);

  using Job = std::function<Finish(Loaded&)>;
  Napi::Value run(const Napi::CallbackInfo& info, Job job);
  // A change after which parameters are new tensors: an optimizer made before would step the old ones.
  Napi::Value change(const Napi::CallbackInfo& info, const char* verb, std::function<void(Model&)> work);
  Napi::Promise start(Napi::Env env, FileOrBytes source, bool safe, at::Device device, int threads);
  // Frees the weights and the thread. Idempotent.
  void release(Napi::Env env);
  void reportBytes(Napi::Env env, int64_t bytes);

  std::shared_ptr<Session> session_;
  std::shared_ptr<Loaded> loaded_ = std::make_shared<Loaded>();
  std::string extra_;
  int64_t bytes_ = 0;
  bool disposed_ = false;
  bool counted_ = false;
};

// Per-environment state: worker threads each have their own.
struct AddonState {
  Napi::FunctionReference constructor;
  // JavaScript's own, taken before anybody could replace it.
  Napi::FunctionReference arrayBuffer;
  Sessions sessions;
  // Those of calls that belong to no model, while they run. Kept here, so that none ends on its own thread.
  std::unordered_set<std::shared_ptr<Session>> alone;
  // Only load() may construct a NativeModel.
  bool constructing = false;
};

}  // namespace torchgraft
