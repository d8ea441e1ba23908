#include "session.h"

#include <atomic>

#include "errors.h"
#include "failure.h"
#include "threads.h"

namespace torchgraft {

namespace {
std::atomic<int> live_tasks{0};
}

struct Session::Task {
  Task(Napi::Env env, Napi::Object owner, Work work)
      : work(std::move(work)), deferred(env), owner(Napi::Persistent(owner)) {
    ++live_tasks;
  }
  ~Task() { --live_tasks; }

  Work work;
  Finish finish;
  std::unique_ptr<ErrorParts> error;
  Napi::Promise::Deferred deferred;
  Napi::ObjectReference owner;
  std::shared_ptr<Session> session;
};

int Session::liveTasks() { return live_tasks; }

std::shared_ptr<Session> Session::create(Napi::Env env, int threads) {
  std::shared_ptr<Session> session(new Session(threads));
  session->env_ = env;
  napi_status status =
      napi_create_threadsafe_function(env, nullptr, nullptr, Napi::String::New(env, "torchgraft"), 0, 1, nullptr,
                                      nullptr, nullptr, &Session::settle, &session->notify_);
  if (status != napi_ok) throw Failure("NATIVE", "Node refused a thread-safe function for the model's thread.");
  // An idle model does not keep the process alive; a running task does.
  napi_unref_threadsafe_function(env, session->notify_);
  // Added after the thread-safe function's own hook, so it runs before: the thread is gone when that one closes.
  napi_add_env_cleanup_hook(env, &Session::onEnvironmentExit, session.get());
  session->thread_ = std::thread([raw = session.get()] { raw->run(); });
  return session;
}

Session::Session(int threads) : threads_(threads) {}

Session::~Session() { close(); }

Napi::Promise Session::submit(Napi::Env env, Napi::Object owner, Work work) {
  auto task = std::make_unique<Task>(env, owner, std::move(work));
  task->session = shared_from_this();
  Napi::Promise promise = task->deferred.Promise();
  if (pending_++ == 0) napi_ref_threadsafe_function(env_, notify_);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    queue_.push_back(std::move(task));
  }
  wake_.notify_one();
  return promise;
}

void Session::run() {
  useThreads(threads_);
  for (;;) {
    std::unique_ptr<Task> task;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [this] { return stop_ || !queue_.empty(); });
      if (queue_.empty() || abandon_) return;
      task = std::move(queue_.front());
      queue_.pop_front();
    }
    // Nothing may leave this thread as an exception: that would end the process.
    try {
      task->finish = task->work();
    } catch (...) {
      task->error = std::make_unique<ErrorParts>(currentError());
    }
    task->work = nullptr;  // frees tensors held by the work on the thread that made them
    Task* raw = task.release();
    if (napi_call_threadsafe_function(notify_, raw, napi_tsfn_nonblocking) != napi_ok) {
      // The environment is closing: nobody will settle this promise. References die with the environment.
      raw->owner.SuppressDestruct();
      raw->session.reset();
      delete raw;
    }
  }
}

void Session::settle(napi_env raw_env, napi_value, void*, void* data) {
  std::unique_ptr<Task> task(static_cast<Task*>(data));
  std::shared_ptr<Session> session = std::move(task->session);
  if (raw_env == nullptr) {
    task->owner.SuppressDestruct();
    return;
  }
  Napi::Env env(raw_env);
  Napi::HandleScope scope(env);
  if (--session->pending_ == 0 && !session->closed_) napi_unref_threadsafe_function(env, session->notify_);
  try {
    if (task->error) {
      task->deferred.Reject(makeError(env, *task->error));
    } else {
      task->deferred.Resolve(task->finish(env));
    }
  } catch (...) {
    // Conversion failed, for example an ArrayBuffer could not be allocated.
    task->deferred.Reject(makeError(env, currentError()));
  }
}

void Session::close() {
  if (closed_) return;
  closed_ = true;
  napi_remove_env_cleanup_hook(env_, &Session::onEnvironmentExit, this);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
  napi_release_threadsafe_function(notify_, napi_tsfn_release);
}

void Session::onEnvironmentExit(void* self) {
  auto* session = static_cast<Session*>(self);
  {
    std::lock_guard<std::mutex> lock(session->mutex_);
    session->abandon_ = true;
    session->stop_ = true;
    for (auto& task : session->queue_) {
      task->owner.SuppressDestruct();
      task->session.reset();
    }
    session->queue_.clear();
  }
  session->wake_.notify_one();
  if (session->thread_.joinable()) session->thread_.join();
  session->closed_ = true;
}

}  // namespace torchgraft
