#include "alone.h"

#include <ATen/Parallel.h>

#include "errors.h"
#include "failure.h"
#include "native_model.h"

namespace torchgraft {

namespace {

// Unlike a task of libuv's it is waited for when the process exits, before libtorch's static objects go, and it leaves
// libuv's threads to those who read files.
Napi::Value submit(Napi::Env env, Work work) {
  auto session = Session::create(env, env.GetInstanceData<AddonState>()->sessions, at::get_num_threads());
  env.GetInstanceData<AddonState>()->alone.insert(session);
  return session->submit(env, Napi::Object::New(env), [session, work = std::move(work)]() -> Finish {
    const auto close = [session](Napi::Env env) {
      session->close();
      env.GetInstanceData<AddonState>()->alone.erase(session);
    };
    try {
      return [close, finish = work()](Napi::Env env) {
        close(env);
        return finish(env);
      };
    } catch (...) {
      return [close, error = currentError()](Napi::Env env) -> Napi::Value {
        close(env);
        throw Failure(error.code, error.message, error.backtrace, error.facts);
      };
    }
  });
}

}  // namespace

Napi::Value runAlone(const Napi::CallbackInfo& info, const std::function<Work()>& read) {
  Napi::Env env = info.Env();
  try {
    return submit(env, read());
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throw Napi::Error(env, makeError(env, currentError()));
  }
}

}  // namespace torchgraft
