// One native thread per model. Work is queued from the JavaScript thread, runs here in order, and settles a promise there.
#pragma once

#include <napi.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_set>

#include "threads.h"

namespace torchgraft {

class Session;

// Makes the JavaScript value of a finished task, on the JavaScript thread.
using Finish = std::function<Napi::Value(Napi::Env)>;
// Runs on the model's thread; throws on failure.
using Work = std::function<Finish()>;

// The open sessions of one environment. JavaScript thread only.
struct Sessions {
  std::unordered_set<Session*> open;
  bool ended = false;
  // The environment is about to end: waits for the running tasks, drops the queued ones, and lets no new ones in.
  void end();
};

class Session : public std::enable_shared_from_this<Session> {
 public:
  // threads: size of libtorch's thread team on this session's thread. `sessions` outlives every open session.
  static std::shared_ptr<Session> create(Napi::Env env, Sessions& sessions, int threads);
  ~Session();

  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Queues work. `owner` is kept alive until the promise is settled. JavaScript thread only.
  Napi::Promise submit(Napi::Env env, Napi::Object owner, Work work);
  // Work is queued or running. JavaScript thread only.
  bool busy() const { return pending_ > 0; }
  // The thread is gone. JavaScript thread only.
  bool closed() const { return closed_; }
  // Finishes queued work and joins the thread. Idempotent. JavaScript thread only.
  void close();
  // Finishes the running task only and joins the thread; promises stay unsettled. Idempotent. JavaScript thread only.
  void abandon();

  static int liveTasks();

 private:
  struct Task;
  Session(Napi::Env env, Sessions& sessions, int threads);
  void run();
  void stop(bool dropQueue);
  static void settle(napi_env env, napi_value, void*, void* data);
  static void onEnvironmentExit(void* self);

  napi_env env_;
  Sessions& sessions_;
  napi_threadsafe_function notify_ = nullptr;
  int threads_;
  int pending_ = 0;
  bool hooked_ = false;
  bool closed_ = false;

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::unique_ptr<Task>> queue_;
  bool stop_ = false;
  DeepThread thread_;
};

}  // namespace torchgraft
