#pragma once

#include <cstdint>

namespace torchgraft {

/// Pixels of an image.
struct CropBox {
  int64_t top;
  int64_t left;
  int64_t height;
  int64_t width;
};

}  // namespace torchgraft
