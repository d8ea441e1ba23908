#include "session.h"

#include <atomic>

#include "errors.h"
#include "failure.h"

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

  // Nobody will settle the promise; the reference is left to die with the environment.
  void drop() {
    owner.SuppressDestruct();
    session.reset();
  }
  void answer(Napi::Env env) {
    try {
      if (error) {
        deferred.Reject(makeError(env, *error));
      } else {
        deferred.Resolve(finish(env));
      }
    } catch (const Napi::Error& thrown) {
      deferred.Reject(thrown.Value());
    } catch (...) {
      // Conversion failed, for example an ArrayBuffer could not be allocated.
      deferred.Reject(makeError(env, currentError()));
    }
  }

  Work work;
  Finish finish;
  std::unique_ptr<ErrorParts> error;
  Napi::Promise::Deferred deferred;
  Napi::ObjectReference owner;
  std::shared_ptr<Session> session;
};

int Session::liveTasks() { return live_tasks; }

void Sessions::end() {
  ended = true;
  // abandon() takes the session out of the set.
  while (!open.empty()) (*open.begin())->abandon();
}

std::shared_ptr<Session> Session::create(Napi::Env env, Sessions& sessions, int threads) {
  if (sessions.ended) throw Failure("DISPOSED", "The process is ending: no model can be loaded any more.");
  std::shared_ptr<Session> session(new Session(env, sessions, threads));
  napi_status status =
      napi_create_threadsafe_function(env, nullptr, nullptr, Napi::String::New(env, "torchgraft"), 0, 1, nullptr,
                                      nullptr, nullptr, &Session::settle, &session->notify_);
  if (status != napi_ok) throw Failure("NATIVE", "Node refused a thread-safe function for the model's thread.");
  // An idle model does not keep the process alive; a running task does.
  napi_unref_threadsafe_function(env, session->notify_);
  // Added after the thread-safe function's own hook, so it runs before: the thread is gone when that one closes.
  session->hooked_ = napi_add_env_cleanup_hook(env, &Session::onEnvironmentExit, session.get()) == napi_ok;
  session->thread_.start([raw = session.get()] { raw->run(); });
  return session;
}

Session::Session(Napi::Env env, Sessions& sessions, int threads) : env_(env), sessions_(sessions), threads_(threads) {
  sessions_.open.insert(this);
}

Session::~Session() { close(); }

Napi::Promise Session::submit(Napi::Env env, Napi::Object owner, Work work) {
  if (closed_) throw Failure("DISPOSED", "The process is ending: the model's thread has stopped.");
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
      if (queue_.empty()) return;
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
      raw->drop();
      delete raw;
    }
  }
}

void Session::settle(napi_env raw_env, napi_value, void*, void* data) {
  std::unique_ptr<Task> task(static_cast<Task*>(data));
  std::shared_ptr<Session> session = std::move(task->session);
  if (raw_env == nullptr) {
    task->drop();
    return;
  }
  if (--session->pending_ == 0 && !session->closed_) napi_unref_threadsafe_function(raw_env, session->notify_);
  // Nothing may leave this function either. In a worker that is being terminated every call into JavaScript fails, the
  // rejection too, and nobody is left to hear it.
  try {
    Napi::HandleScope scope(raw_env);
    task->answer(raw_env);
  } catch (...) {
  }
}

void Session::stop(bool dropQueue) {
  closed_ = true;
  sessions_.open.erase(this);
  if (hooked_) napi_remove_env_cleanup_hook(env_, &Session::onEnvironmentExit, this);
  hooked_ = false;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
    if (dropQueue) {
      for (auto& task : queue_) task->drop();
      queue_.clear();
    }
  }
  wake_.notify_one();
  thread_.join();
}

void Session::close() {
  if (closed_) return;
  stop(/*dropQueue=*/false);
  if (notify_) napi_release_threadsafe_function(notify_, napi_tsfn_release);
}

// The thread-safe function is left to the environment, which closes it with what is still in its queue.
void Session::abandon() {
  if (!closed_) stop(/*dropQueue=*/true);
}

void Session::onEnvironmentExit(void* self) {
  auto* session = static_cast<Session*>(self);
  session->hooked_ = false;
  session->abandon();
}

}  // namespace torchgraft
