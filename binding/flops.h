// Counts the arithmetic of a piece of work on the calling thread.
#pragma once

#include <cstdint>
#include <functional>

namespace torchgraft {

// Floating-point operations of the convolutions and matrix products that `work` runs on this thread, forward only; two
// for each multiplication and addition. Elementwise operations and normalisation are not counted, as in most tables.
int64_t countFlops(const std::function<void()>& work);

}  // namespace torchgraft
