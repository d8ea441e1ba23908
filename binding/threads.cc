#include "threads.h"

#include <ATen/Parallel.h>
#include <torch/csrc/jit/python/update_graph_executor_opt.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <thread>

#include "failure.h"

namespace torchgraft {

namespace {

// Address space only: pages are taken when they are touched.
constexpr size_t kStackBytes = size_t{64} << 20;

}  // namespace

void useThreads(int threads) {
  const int processors = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  at::set_num_threads(std::clamp(threads, 1, processors));
  // The interpreter without the profiling executor: no slow first calls, and no re-specialisation when the last batch
  // is smaller.
  torch::jit::setGraphExecutorOptimize(false);
}

void DeepThread::start(std::function<void()> body) {
  body_ = std::move(body);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStackBytes);
  auto enter = [](void* self) -> void* {
    static_cast<DeepThread*>(self)->body_();
    return nullptr;
  };
  const int refused = pthread_create(&thread_, &attributes, enter, this);
  pthread_attr_destroy(&attributes);
  if (refused != 0) throw Failure("NATIVE", std::string("The system gives no thread for the model: ") + std::strerror(refused) + ".");
  started_ = true;
}

void DeepThread::join() {
  if (!started_) return;
  started_ = false;
  pthread_join(thread_, nullptr);
}

}  // namespace torchgraft
