// Lower precisions: which of them a device computes natively, and automatic mixed precision of a region.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace torchgraft {

// 'float32', 'bfloat16' or 'float16'.
std::string precisionName(at::ScalarType dtype);
// As JavaScript calls it: 'float32', 'int64', 'bool'.
std::string dtypeName(at::ScalarType scalar);

// The device multiplies bfloat16 in hardware: AVX512-BF16 or AMX on a processor, compute capability 8 on a GPU.
bool hasNativeBfloat16(const at::Device& device);

// For GPUs. PyTorch lets cuDNN round what float32 convolutions take to TF32, 10 bits of mantissa: then no compiled part
// equals its original to 1e-5, and one image's scores depend on the batch it came in.
void keepFloat32Exact();

// torch.autocast for the calling thread while alive; float32 leaves it off. Parameters stay float32: they are cast where
// an operation gains by it.
class Autocast {
 public:
  Autocast(const at::Device& device, at::ScalarType dtype);
  ~Autocast();
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  at::DeviceType type_;
  bool active_;
};

}  // namespace torchgraft
