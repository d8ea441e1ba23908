#include "precision.h"

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <ATen/detail/CUDAHooksInterface.h>

namespace torchgraft {

std::string precisionName(at::ScalarType dtype) {
  return dtype == at::kBFloat16 ? "bfloat16" : dtype == at::kHalf ? "float16" : "float32";
}

std::string dtypeName(at::ScalarType scalar) {
  switch (scalar) {
    case at::kFloat: return "float32";
    case at::kDouble: return "float64";
    case at::kHalf: return "float16";
    case at::kBFloat16: return "bfloat16";
    case at::kLong: return "int64";
    case at::kInt: return "int32";
    case at::kShort: return "int16";
    case at::kChar: return "int8";
    case at::kByte: return "uint8";
    case at::kBool: return "bool";
    default: return at::toString(scalar);
  }
}

bool hasNativeBfloat16(const at::Device& device) {
  // Without the CUDA runtime's headers the capability cannot be asked; every GPU that this libtorch supports and that
  // has cuDNN's bfloat16 convolutions passes.
  if (device.is_cuda()) return at::detail::getCUDAHooks().supportsBFloat16ConvolutionWithCuDNNv8();
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

void keepFloat32Exact() {
  at::globalContext().setAllowTF32CuDNN(false);
}

Autocast::Autocast(const at::Device& device, at::ScalarType dtype) : type_(device.type()), active_(dtype != at::kFloat) {
  if (!active_) return;
  at::autocast::set_autocast_dtype(type_, dtype);
  at::autocast::set_autocast_enabled(type_, true);
}

Autocast::~Autocast() {
  if (!active_) return;
  at::autocast::set_autocast_enabled(type_, false);
  at::autocast::clear_cache();
}

}  // namespace torchgraft
