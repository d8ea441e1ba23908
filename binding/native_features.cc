// The methods of NativeModel about plans, and about features that are kept under them.
#include "failure.h"
#include "native_model.h"
#include "plain.h"
#include "requests.h"

namespace torchgraft {

Napi::Value NativeModel::plan(const Napi::CallbackInfo& info) {
  Batch batch = readBatch(info[0], "plan", true);
  const PlanRequest request = readPlanRequest(info[1]);
  return run(info, [batch = std::move(batch), request](Loaded& loaded) -> Finish {
    auto report = std::make_shared<PlanReport>(trainerOf(loaded, "plan").plan(batch, request));
    return [report](Napi::Env env) { return writePlan(env, *report); };
  });
}

Napi::Value NativeModel::planKey(const Napi::CallbackInfo& info) {
  return run(info, [](Loaded& loaded) -> Finish {
    return [key = trainerOf(loaded, "planKey").planKey()](Napi::Env env) { return Napi::String::New(env, key); };
  });
}

Napi::Value NativeModel::usePlan(const Napi::CallbackInfo& info) {
  return run(info, [known = readKnownPlan(info[0])](Loaded& loaded) -> Finish {
    auto report = std::make_shared<PlanReport>(trainerOf(loaded, "usePlan").usePlan(known));
    return [report](Napi::Env env) { return writePlan(env, *report); };
  });
}

Napi::Value NativeModel::openFeatures(const Napi::CallbackInfo& info) {
  return run(info, [options = readFeatureOptions(info[0])](Loaded& loaded) -> Finish {
    const FeatureStore& store = trainerOf(loaded, "openFeatures").openFeatures(options);
    return [rows = store.rows(), bytes = store.fileSize(), problem = store.problem()](Napi::Env env) -> Napi::Value {
      auto object = Napi::Object::New(env);
      object.Set("rows", static_cast<double>(rows));
      object.Set("fileBytes", static_cast<double>(bytes));
      object.Set("problem", problem);
      return object;
    };
  });
}

Napi::Value NativeModel::findFeatures(const Napi::CallbackInfo& info) {
  return run(info, [keys = readKeys(info[0], "findFeatures: keys")](Loaded& loaded) -> Finish {
    return [rows = trainerOf(loaded, "findFeatures").findFeatures(keys)](Napi::Env env) { return writeRows(env, rows); };
  });
}

Napi::Value NativeModel::storeFeatures(const Napi::CallbackInfo& info) {
  return run(info, [request = readFeatureBatch(info[0])](Loaded& loaded) -> Finish {
    return [rows = trainerOf(loaded, "storeFeatures").storeFeatures(request)](Napi::Env env) { return writeRows(env, rows); };
  });
}

Napi::Value NativeModel::readFeatures(const Napi::CallbackInfo& info) {
  return run(info, [rows = readRows(info[0], "readFeatures: rows")](Loaded& loaded) -> Finish {
    return [features = trainerOf(loaded, "readFeatures").readFeatures(rows)](Napi::Env env) { return writeTensors(env, features); };
  });
}

}  // namespace torchgraft
