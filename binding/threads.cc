#include "threads.h"

#include <ATen/Parallel.h>
#include <torch/csrc/jit/python/update_graph_executor_opt.h>

namespace torchgraft {

void useThreads(int threads) {
  at::set_num_threads(threads);
  // The interpreter without the profiling executor: no slow first calls, and no re-specialisation when the last batch
  // is smaller.
  torch::jit::setGraphExecutorOptimize(false);
}

}  // namespace torchgraft
