#include "tied.h"

#include <algorithm>

#include "graph.h"
#include "graph_paths.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;

bool isSameView(const at::Tensor& a, const at::Tensor& b) {
  return a.is_alias_of(b) && a.storage_offset() == b.storage_offset() && a.sizes() == b.sizes() && a.strides() == b.strides() &&
         a.scalar_type() == b.scalar_type();
}

bool hasMemory(const at::Tensor& tensor) { return tensor.defined() && tensor.has_storage() && tensor.numel() > 0; }

// From the first byte that a tensor reads to the one behind its last.
std::pair<int64_t, int64_t> bytesOf(const at::Tensor& tensor) {
  int64_t last = 0;
  for (int64_t i = 0; i < tensor.dim(); ++i) last += (tensor.size(i) - 1) * tensor.stride(i);
  const int64_t size = tensor.element_size();
  return {tensor.storage_offset() * size, (tensor.storage_offset() + last + 1) * size};
}

template <class Visit>
void eachTensor(const jit::Module& module, const Visit& visit) {
  for (const auto& entry : module.named_parameters(/*recurse=*/true)) visit(entry.name, entry.value);
  for (const auto& entry : module.named_buffers(/*recurse=*/true)) visit(entry.name, entry.value);
}

}  // namespace

void unifyTied(jit::Module& module) {
  std::unordered_map<const void*, std::vector<at::Tensor>> byStorage;
  eachTensor(module, [&](const std::string& path, const at::Tensor& tensor) {
    if (!hasMemory(tensor)) return;
    auto& known = byStorage[tensor.storage().unsafeGetStorageImpl()];
    const auto same = std::find_if(known.begin(), known.end(), [&](const at::Tensor& other) { return isSameView(other, tensor); });
    if (same == known.end()) {
      known.push_back(tensor);
    } else if (!same->is_same(tensor)) {
      jit::Module owner = submodule(module, parentOf(path));
      owner.setattr(path.substr(path.rfind('.') + 1), *same);
    }
  });
}

std::unordered_map<std::string, std::vector<std::string>> otherNames(const jit::Module& module) {
  std::unordered_map<const c10::TensorImpl*, std::string> first;
  std::unordered_map<std::string, std::vector<std::string>> others;
  eachTensor(module, [&](const std::string& path, const at::Tensor& tensor) {
    const auto [found, isFirst] = first.emplace(tensor.unsafeGetTensorImpl(), path);
    if (!isFirst) others[found->second].push_back(path);
  });
  return others;
}

std::vector<std::pair<std::string, std::string>> overlappingParameters(const std::vector<std::pair<std::string, at::Tensor>>& parameters) {
  std::unordered_map<const void*, std::vector<size_t>> byStorage;
  std::vector<std::pair<std::string, std::string>> pairs;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const at::Tensor& tensor = parameters[i].second;
    if (!hasMemory(tensor)) continue;
    auto& known = byStorage[tensor.storage().unsafeGetStorageImpl()];
    for (const size_t k : known) {
      const auto [from, to] = bytesOf(tensor);
      const auto [otherFrom, otherTo] = bytesOf(parameters[k].second);
      if (from < otherTo && otherFrom < to) pairs.emplace_back(parameters[k].first, parameters[i].first);
    }
    known.push_back(i);
  }
  return pairs;
}

}  // namespace torchgraft
