// The crossing values of samples as rows of a feature store, and back as tensors.
#pragma once

#include <vector>

#include "feature_store.h"
#include "plan.h"
#include "torch.h"

namespace torchgraft {

class FeatureBank {
 public:
  // Rows of these crossing values, all float32, one after the other. options.rowBytes is set here.
  FeatureBank(std::vector<Crossing> layout, FeatureStoreOptions options);

  // Row numbers; -1 where a key is absent or its row damaged: every row is read once, so later epochs find it in memory.
  std::vector<int64_t> find(const std::vector<FeatureKey>& keys);
  // features: [n, ...] each, as the prefix gives them. Row numbers; -1 where there is no room.
  std::vector<int64_t> store(const std::vector<FeatureKey>& keys, const std::vector<c10::IValue>& features);
  // The crossing values of these rows, in this order, on the device. Throws Failure("FEATURES_DAMAGED") when a row can
  // no longer be read, and INVALID_VALUE for a number that is no row.
  std::vector<c10::IValue> gather(const std::vector<int64_t>& rows, const at::Device& device);

  const FeatureStore& contents() const { return store_; }

 private:
  static FeatureStoreOptions sized(FeatureStoreOptions options, const std::vector<Crossing>& layout);

  std::vector<Crossing> layout_;
  FeatureStore store_;
};

}  // namespace torchgraft
