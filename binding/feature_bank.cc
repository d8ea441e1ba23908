#include "feature_bank.h"

#include <algorithm>

#include "failure.h"

namespace torchgraft {

namespace {

// Rows looked through at a time: 16 MB.
constexpr int64_t kScanBytes = 16 << 20;

int64_t elements(const Crossing& crossing) {
  int64_t count = 1;
  for (int64_t side : crossing.shape) count *= side;
  return count;
}

// Images lie as channels-last in a row: as the convolutions behind the cut want them.
bool isImage(const Crossing& crossing) { return crossing.shape.size() == 3; }

}  // namespace

FeatureStoreOptions FeatureBank::sized(FeatureStoreOptions options, const std::vector<Crossing>& layout) {
  options.rowBytes = 0;
  for (const Crossing& crossing : layout) {
    if (crossing.dtype != "Float") throw Failure("INVALID_VALUE", "openFeatures: crossing values of dtype " + crossing.dtype + " cannot be kept.");
    options.rowBytes += elements(crossing) * static_cast<int64_t>(sizeof(float));
  }
  return options;
}

FeatureBank::FeatureBank(std::vector<Crossing> layout, FeatureStoreOptions options)
    : layout_(std::move(layout)), store_(sized(std::move(options), layout_)) {}

std::vector<int64_t> FeatureBank::find(const std::vector<FeatureKey>& keys) {
  std::vector<int64_t> rows = store_.find(keys.data(), keys.size());
  std::vector<int64_t> known;
  for (int64_t row : rows) {
    if (row >= 0) known.push_back(row);
  }
  const int64_t atOnce = std::max<int64_t>(1, kScanBytes / store_.rowBytes());
  std::vector<uint8_t> scratch;
  bool damaged = false;
  for (size_t from = 0; from < known.size(); from += atOnce) {
    const size_t count = std::min<size_t>(atOnce, known.size() - from);
    scratch.resize(count * store_.rowBytes());
    damaged = !store_.read(known.data() + from, count, scratch.data()).empty() || damaged;
  }
  return damaged ? store_.find(keys.data(), keys.size()) : rows;
}

std::vector<int64_t> FeatureBank::store(const std::vector<FeatureKey>& keys, const std::vector<c10::IValue>& features) {
  const auto count = static_cast<int64_t>(keys.size());
  std::vector<uint8_t> rows(count * store_.rowBytes());
  int64_t at = 0;
  for (size_t i = 0; i < layout_.size(); ++i) {
    at::Tensor value = features.at(i).toTensor();
    const bool fits = value.dim() > 0 && value.size(0) == count && value.sizes().slice(1) == at::IntArrayRef(layout_[i].shape);
    if (!fits) throw Failure("SHAPE_MISMATCH", "storeFeatures: the prefix gave " + c10::str(value.sizes()) + " where the plan says [n, " + c10::str(layout_[i].shape) + "].");
    value = (isImage(layout_[i]) ? value.permute({0, 2, 3, 1}) : value).to(at::kCPU, at::kFloat).contiguous();
    const int64_t bytes = elements(layout_[i]) * static_cast<int64_t>(sizeof(float));
    const auto* data = static_cast<const uint8_t*>(value.const_data_ptr());
    for (int64_t row = 0; row < count; ++row) std::copy_n(data + row * bytes, bytes, rows.data() + row * store_.rowBytes() + at);
    at += bytes;
  }
  return store_.append(keys.data(), rows.data(), keys.size());
}

std::vector<c10::IValue> FeatureBank::gather(const std::vector<int64_t>& rows, const at::Device& device) {
  const auto count = static_cast<int64_t>(rows.size());
  at::Tensor whole = at::empty({count, store_.rowBytes() / static_cast<int64_t>(sizeof(float))}, at::kFloat);
  if (!store_.read(rows.data(), rows.size(), static_cast<uint8_t*>(whole.mutable_data_ptr())).empty()) {
    throw Failure("FEATURES_DAMAGED", "Cached features can no longer be read. They are computed anew when they are asked for again.");
  }
  std::vector<c10::IValue> values;
  int64_t at = 0;
  for (const Crossing& crossing : layout_) {
    std::vector<int64_t> shape = crossing.shape;
    if (isImage(crossing)) std::rotate(shape.begin(), shape.begin() + 1, shape.end());
    shape.insert(shape.begin(), count);
    at::Tensor value = whole.narrow(1, at, elements(crossing)).reshape(shape);
    if (isImage(crossing)) value = value.permute({0, 3, 1, 2});
    // In-place operations of the suffix must not reach the next value.
    values.emplace_back(layout_.size() > 1 ? value.clone(at::MemoryFormat::Preserve).to(device) : value.to(device));
    at += elements(crossing);
  }
  return values;
}

}  // namespace torchgraft
