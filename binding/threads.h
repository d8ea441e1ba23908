// The thread a model's work runs on, and libtorch's thread team of the calling thread.
#pragma once

#include <pthread.h>

#include <functional>

namespace torchgraft {

// Sizes the team for work on the calling thread; more than the machine has processors are not made, since libgomp
// ends the process when the system refuses a thread. Each thread that runs torch work has its own team.
void useThreads(int threads);

// A thread whose stack does not depend on `ulimit -s`: libtorch's parser, unpickler and graph walks recurse as deep as
// their input is nested.
class DeepThread {
 public:
  DeepThread() = default;
  ~DeepThread() { join(); }
  DeepThread(const DeepThread&) = delete;
  DeepThread& operator=(const DeepThread&) = delete;

  // Throws Failure("NATIVE") when the system gives no thread.
  void start(std::function<void()> body);
  // Idempotent.
  void join();

 private:
  std::function<void()> body_;
  pthread_t thread_{};
  bool started_ = false;
};

}  // namespace torchgraft
