#include "native_model.h"

#include <atomic>

#include "archive/byte_source.h"
#include "describe.h"
#include "errors.h"
#include "failure.h"
#include "head.h"
#include "memory.h"
#include "plain.h"
#include "requests.h"

namespace torchgraft {

namespace {

constexpr napi_type_tag kTypeTag = {0x7f3a1c5be2d94e60, 0x9b1d8f2746ac35e1};

std::atomic<int> live_models{0};

at::Device deviceNamed(const std::string& name) {
  try {
    const at::Device device(name);
    if (device.is_cpu()) return device;
    if (device.is_cuda() && at::hasCUDA() && device.index() < static_cast<int>(at::detail::getCUDAHooks().deviceCount())) return device;
  } catch (const c10::Error&) {
    throw Failure("INVALID_VALUE", "load: device '" + name + "' is not a device. Expected 'cpu', 'cuda' or 'cuda:0'.");
  }
  throw Failure("DEVICE_UNAVAILABLE", "load: this libtorch sees no device '" + name + "'. Use 'cpu' or 'auto'; `torchgraft doctor` lists what is there.");
}

// Without training there is no chosen loss; cross-entropy is the one classifiers are compared by.
Evaluation evaluateUntrained(Loaded& loaded, const Batch& batch, const std::optional<Preprocess>& preprocess) {
  at::NoGradGuard guard;
  Model& model = *loaded.model;
  const auto inputs = preparedInputs(batch, preprocess, model.device());
  const auto output = loaded.serving ? loaded.serving->run(inputs) : model.infer(inputs);
  return judge(model.mainOutput(output), batch.target, Loss(LossOptions{}, model.device()), batch.views);
}

}  // namespace

Finish nothing() {
  return [](Napi::Env env) { return env.Undefined(); };
}

void refuseServing(const Loaded& loaded, const char* verb) {
  if (loaded.serving) throw Failure("MODEL_FROZEN", std::string(verb) + ": the model was optimised for serving and only predicts. Load it again to train it.");
}

Trainer& trainerOf(Loaded& loaded, const char* verb) {
  refuseServing(loaded, verb);
  if (!loaded.trainer) throw Failure("NOT_TRAINABLE", std::string(verb) + ": training is not configured. Call configure() first.");
  return *loaded.trainer;
}

int NativeModel::live() { return live_models; }

// Every entry from JavaScript: refuses a wrong receiver before anything is touched, and turns any exception into one
// that JavaScript can catch.
template <Napi::Value (NativeModel::*Method)(const Napi::CallbackInfo&)>
Napi::Value NativeModel::guarded(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!info.This().IsObject() || !info.This().As<Napi::Object>().CheckTypeTag(&kTypeTag)) {
    throw Napi::TypeError::New(env, "This method belongs to a NativeModel made by load().");
  }
  try {
    return (this->*Method)(info);
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throw Napi::Error(env, makeError(env, currentError()));
  }
}

template <Napi::Value (NativeModel::*Method)(const Napi::CallbackInfo&)>
Napi::ClassPropertyDescriptor<NativeModel> NativeModel::method(const char* name) {
  return InstanceMethod<&NativeModel::guarded<Method>>(name);
}

Napi::Function NativeModel::define(Napi::Env env) {
  return DefineClass(env, "NativeModel",
                     {method<&NativeModel::describe>("describe"),
                      method<&NativeModel::values>("values"),
                      method<&NativeModel::setValues>("setValues"),
                      method<&NativeModel::gradients>("gradients"),
                      method<&NativeModel::forward>("forward"),
                      method<&NativeModel::setTrainable>("setTrainable"),
                      method<&NativeModel::replaceHead>("replaceHead"),
                      method<&NativeModel::nameHeads>("nameHeads"),
                      method<&NativeModel::addAdapters>("addAdapters"),
                      method<&NativeModel::mergeAdapters>("mergeAdapters"),
                      method<&NativeModel::putAdapters>("putAdapters"),
                      method<&NativeModel::adaptInput>("adaptInput"),
                      method<&NativeModel::reinitialise>("reinitialise"),
                      method<&NativeModel::estimateStatistics>("estimateStatistics"),
                      method<&NativeModel::configure>("configure"),
                      method<&NativeModel::plan>("plan"),
                      method<&NativeModel::planKey>("planKey"),
                      method<&NativeModel::usePlan>("usePlan"),
                      method<&NativeModel::optimise>("optimise"),
                      method<&NativeModel::openFeatures>("openFeatures"),
                      method<&NativeModel::findFeatures>("findFeatures"),
                      method<&NativeModel::storeFeatures>("storeFeatures"),
                      method<&NativeModel::readFeatures>("readFeatures"),
                      method<&NativeModel::keepSource>("keepSource"),
                      method<&NativeModel::dropSource>("dropSource"),
                      method<&NativeModel::addFisher>("addFisher"),
                      method<&NativeModel::fisher>("fisher"),
                      method<&NativeModel::joinSourceHead>("joinSourceHead"),
                      method<&NativeModel::partSourceHead>("partSourceHead"),
                      method<&NativeModel::step>("step"),
                      method<&NativeModel::evaluate>("evaluate"),
                      method<&NativeModel::gradCam>("gradCam"),
                      method<&NativeModel::keepBest>("keepBest"),
                      method<&NativeModel::restoreBest>("restoreBest"),
                      method<&NativeModel::save>("save"),
                      method<&NativeModel::saveCheckpoint>("saveCheckpoint"),
                      method<&NativeModel::loadCheckpoint>("loadCheckpoint"),
                      method<&NativeModel::dispose>("dispose"),
                      InstanceAccessor<&NativeModel::guarded<&NativeModel::bytes>>("bytes"),
                      InstanceAccessor<&NativeModel::guarded<&NativeModel::extra>>("extra")});
}

NativeModel::NativeModel(const Napi::CallbackInfo& info) : Napi::ObjectWrap<NativeModel>(info) {
  auto* state = info.Env().GetInstanceData<AddonState>();
  if (!state->constructing) throw Napi::TypeError::New(info.Env(), "NativeModel has no public constructor. Use load().");
  info.This().As<Napi::Object>().TypeTag(&kTypeTag);
  counted_ = true;
  ++live_models;
}

NativeModel::~NativeModel() { release(Env()); }

void NativeModel::release(Napi::Env env) {
  disposed_ = true;
  if (session_) session_->close();
  loaded_.reset();
  reportBytes(env, 0);
  if (counted_) --live_models;
  counted_ = false;
}

void NativeModel::reportBytes(Napi::Env env, int64_t bytes) {
  // Not through Napi::MemoryManagement: that throws, and this runs in the destructor too.
  int64_t total = 0;
  if (bytes != bytes_) napi_adjust_external_memory(env, bytes - bytes_, &total);
  bytes_ = bytes;
}

Napi::Value NativeModel::load(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  try {
    auto options = readObject(info[1], "load: options");
    const std::string device = readString(options, "device", "load");
    const int threads = static_cast<int>(readInteger(options, "threads", "load", 1, 1024));
    const bool safe = !isAbsent(options, "safe") && readBool(options, "safe", "load");
    FileOrBytes source = readSource(info[0], "load: source");
    const at::Device place = deviceNamed(device);
    auto* state = env.GetInstanceData<AddonState>();
    state->constructing = true;
    Napi::Object object;
    try {
      object = state->constructor.New({});
    } catch (...) {
      state->constructing = false;
      throw;
    }
    state->constructing = false;
    return Unwrap(object)->start(env, std::move(source), safe, place, threads);
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throw Napi::Error(env, makeError(env, currentError()));
  }
}

Napi::Promise NativeModel::start(Napi::Env env, FileOrBytes source, bool safe, at::Device device, int threads) {
  session_ = Session::create(env, env.GetInstanceData<AddonState>()->sessions, threads);
  auto loaded = loaded_;
  Napi::Object self = Value();
  return session_->submit(env, self, [this, loaded, source = std::move(source), safe, device]() -> Finish {
    try {
      loaded->model = std::make_unique<Model>(Model::load(source.open(), source.name(), device, safe));
    } catch (...) {
      // Nobody will ever hold this object, so its thread ends here and not when it is collected.
      return [this, error = currentError()](Napi::Env env) -> Napi::Value {
        release(env);
        throw Failure(error.code, error.message, error.backtrace, error.facts);
      };
    }
    const int64_t size = loaded->model->bytes();
    const auto found = loaded->model->extra().find(kExtraFile);
    std::string extra = found == loaded->model->extra().end() ? "" : found->second;
    // The task holds a reference to the object, so `this` is alive when the promise is settled.
    return [this, size, extra = std::move(extra)](Napi::Env env) -> Napi::Value {
      reportBytes(env, size);
      extra_ = extra;
      return Value();
    };
  });
}

Napi::Value NativeModel::run(const Napi::CallbackInfo& info, Job job) {
  if (disposed_) throw Failure("DISPOSED", "The model was disposed. Load it again to use it.");
  if (session_->busy()) {
    throw Failure("BUSY", "The model is at work: one operation at a time. Await the one before, or load the model a second time.");
  }
  return session_->submit(info.Env(), info.This().As<Napi::Object>(), [loaded = loaded_, job = std::move(job)] {
    return job(*loaded);
  });
}

Napi::Value NativeModel::describe(const Napi::CallbackInfo& info) {
  return run(info, [](Loaded& loaded) -> Finish {
    auto description = std::make_shared<Description>(describeModel(*loaded.model, loaded.trainer.get()));
    return [description](Napi::Env env) { return writeDescription(env, *description); };
  });
}

Napi::Value NativeModel::forward(const Napi::CallbackInfo& info) {
  return run(info, [inputs = readTensors(info[0], "forward: inputs")](Loaded& loaded) -> Finish {
    c10::IValue output = detachForJs(loaded.model->infer(inputs));
    return [output](Napi::Env env) { return writeValue(env, output); };
  });
}

Napi::Value NativeModel::setTrainable(const Napi::CallbackInfo& info) {
  auto names = readStrings(info[0], "setTrainable: parameters");
  if (!info[1].IsBoolean()) throw Failure("INVALID_TYPE", "setTrainable: trainBatchNorm must be true or false.");
  const bool trainBatchNorm = info[1].As<Napi::Boolean>().Value();
  return run(info, [names = std::move(names), trainBatchNorm](Loaded& loaded) {
    refuseServing(loaded, "setTrainable");
    loaded.model->setTrainable(names, trainBatchNorm);
    return nothing();
  });
}

Napi::Value NativeModel::replaceHead(const Napi::CallbackInfo& info) {
  return run(info, [this, request = readHeadRequest(info[0])](Loaded& loaded) -> Finish {
    refuseServing(loaded, "replaceHead");
    NewHead made = torchgraft::replaceHead(*loaded.model, request);
    // Parameters are new tensors now; an optimizer made before would step the old ones.
    loaded.trainer.reset();
    const int64_t size = loaded.model->bytes();
    return [this, made = std::move(made), size](Napi::Env env) {
      reportBytes(env, size);
      return writeNewHead(env, made);
    };
  });
}

Napi::Value NativeModel::nameHeads(const Napi::CallbackInfo& info) {
  KnownHeads heads{readStrings(info[0], "nameHeads: main"), std::nullopt};
  if (!info[1].IsNull()) heads.auxiliary = readStrings(info[1], "nameHeads: auxiliary");
  return run(info, [heads = std::move(heads)](Loaded& loaded) {
    refuseServing(loaded, "nameHeads");
    Model& model = *loaded.model;
    const auto check = [&](const std::string& layer) {
      if (!headAt(model.module(), layer)) throw Failure("NO_HEAD", "'" + layer + "' is not a Linear or Conv2d layer: it has no weight of 2 or 4 dimensions. `summary()` and `torchgraft inspect` list all layers.");
    };
    for (const std::string& layer : heads.main) check(layer);
    for (const std::string& layer : heads.auxiliary.value_or(std::vector<std::string>{})) check(layer);
    model.nameHeads(heads);
    return nothing();
  });
}

Napi::Value NativeModel::reinitialise(const Napi::CallbackInfo& info) {
  const uint64_t seed = readSeed(info[0], "reinitialise: seed");
  return run(info, [seed](Loaded& loaded) {
    refuseServing(loaded, "reinitialise");
    loaded.model->reinitialise(seed);
    return nothing();
  });
}

Napi::Value NativeModel::configure(const Napi::CallbackInfo& info) {
  return run(info, [options = readTrainingOptions(info[0])](Loaded& loaded) {
    refuseServing(loaded, "configure");
    loaded.trainer = std::make_unique<Trainer>(*loaded.model, options, loaded.source);
    return nothing();
  });
}

Napi::Value NativeModel::step(const Napi::CallbackInfo& info) {
  return run(info, [batch = readBatch(info[0], "step", true)](Loaded& loaded) -> Finish {
    const StepResult result = trainerOf(loaded, "step").step(batch);
    return [result](Napi::Env env) { return writeStep(env, result); };
  });
}

Napi::Value NativeModel::evaluate(const Napi::CallbackInfo& info) {
  Batch batch = readBatch(info[0], "evaluate", false);
  batch.views = readTestViews(info[0]);
  auto preprocess = readPreprocess(readObject(info[0], "evaluate"), "evaluate");
  return run(info, [batch = std::move(batch), preprocess](Loaded& loaded) -> Finish {
    auto result = loaded.trainer ? loaded.trainer->evaluate(batch, preprocess) : evaluateUntrained(loaded, batch, preprocess);
    return [result](Napi::Env env) { return writeEvaluation(env, result); };
  });
}

Napi::Value NativeModel::optimise(const Napi::CallbackInfo& info) {
  return run(info, [request = readServingRequest(info[0])](Loaded& loaded) -> Finish {
    refuseServing(loaded, "optimise");
    const auto example = preparedInputs(request.example, request.preprocess, loaded.model->device());
    if (!request.samples.inputs.empty() && !loaded.model->device().is_cpu()) {
      throw Failure("INVALID_VALUE", "optimise: int8 is computed on the CPU alone. Load the model with device cpu, or take float16.");
    }
    const auto samples = request.samples.inputs.empty() ? std::vector<at::Tensor>() : preparedInputs(request.samples, request.preprocess, loaded.model->device());
    loaded.serving = std::make_unique<Serving>(*loaded.model, example, request.precision, samples);
    loaded.trainer.reset();
    return [report = loaded.serving->report()](Napi::Env env) { return writeServing(env, report); };
  });
}

Napi::Value NativeModel::keepBest(const Napi::CallbackInfo& info) {
  return run(info, [](Loaded& loaded) {
    trainerOf(loaded, "keepBest").keepBest();
    return nothing();
  });
}

Napi::Value NativeModel::restoreBest(const Napi::CallbackInfo& info) {
  return run(info, [](Loaded& loaded) {
    trainerOf(loaded, "restoreBest").restoreBest();
    return nothing();
  });
}

Napi::Value NativeModel::save(const Napi::CallbackInfo& info) {
  return run(info, [path = pathOf(info[0], "save: path"), extra = readExtra(info[1], "save: extra")](Loaded& loaded) {
    saveMerged(*loaded.model, path, extra);
    return nothing();
  });
}

Napi::Value NativeModel::saveCheckpoint(const Napi::CallbackInfo& info) {
  auto path = pathOf(info[0], "saveCheckpoint: path");
  auto extra = readExtra(info[1], "saveCheckpoint: extra");
  return run(info, [path, extra](Loaded& loaded) {
    trainerOf(loaded, "saveCheckpoint").saveCheckpoint(path, extra);
    return nothing();
  });
}

Napi::Value NativeModel::loadCheckpoint(const Napi::CallbackInfo& info) {
  return run(info, [path = pathOf(info[0], "loadCheckpoint: path")](Loaded& loaded) -> Finish {
    std::string json = trainerOf(loaded, "loadCheckpoint").loadCheckpoint(path);
    return [json = std::move(json)](Napi::Env env) -> Napi::Value { return writeExtra(env, json); };
  });
}

Napi::Value NativeModel::dispose(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (session_->closed()) {
    // Disposed already, or the process is ending.
    release(env);
    auto done = Napi::Promise::Deferred::New(env);
    done.Resolve(env.Undefined());
    return done.Promise();
  }
  disposed_ = true;
  // Queued behind whatever runs, so it waits for that work; a second call waits for the first.
  return session_->submit(env, info.This().As<Napi::Object>(), [this, loaded = loaded_]() -> Finish {
    loaded->trainer.reset();
    loaded->serving.reset();
    loaded->source.reset();
    loaded->model.reset();
    returnFreedMemory();
    return [this](Napi::Env env) {
      release(env);
      return env.Undefined();
    };
  });
}

Napi::Value NativeModel::bytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(bytes_));
}

Napi::Value NativeModel::extra(const Napi::CallbackInfo& info) { return writeExtra(info.Env(), extra_); }

}  // namespace torchgraft
