#include "pickled_kind.h"

#include <algorithm>
#include <array>
#include <optional>

#include "pickle.h"

namespace torchgraft::archive {

namespace {

bool isTensor(const Pickle& pickle, ValueId id) {
  if (pickle.kind(id) != ValueKind::call) return false;
  const std::string_view name = pickle.text(pickle[id].callee);
  return name.starts_with("torch._utils._rebuild_") || name.starts_with("torch._tensor._rebuild_") || name.starts_with("torch.Tensor") ||
         name == "torch.nn.parameter.Parameter";
}

// A dict with text for keys and tensors among its values.
struct Tensors {
  size_t count = 0;
  std::string firstKey;
};

std::optional<Tensors> tensorsOf(const Pickle& pickle, ValueId id) {
  if (pickle.kind(id) != ValueKind::dict) return std::nullopt;
  Tensors tensors;
  const auto& items = pickle.items(id);
  for (size_t i = 0; i + 1 < items.size(); i += 2) {
    if (pickle.kind(items[i]) != ValueKind::text || !isTensor(pickle, items[i + 1])) continue;
    if (tensors.count++ == 0) tensors.firstKey = std::string(pickle.text(items[i]));
  }
  return tensors.count > 0 ? std::optional(tensors) : std::nullopt;
}

Finding stateDict(const Tensors& tensors, const std::string& under) {
  return {"state-dict", {{"tensors", std::to_string(tensors.count)}, {"first", tensors.firstKey}, {"under", under}}};
}

// The state of an nn.Module is a dict with its parts.
bool hasParts(const Pickle& pickle, ValueId id) {
  for (const ValueId state : pickle.items(id)) {
    if (pickle.kind(state) != ValueKind::dict) continue;
    const auto& items = pickle.items(state);
    for (size_t i = 0; i + 1 < items.size(); i += 2) {
      if (pickle.kind(items[i]) == ValueKind::text && pickle.text(items[i]) == "_modules") return true;
    }
  }
  return false;
}

bool isModule(const Pickle& pickle, ValueId id) { return pickle.kind(id) == ValueKind::call && hasParts(pickle, id); }

Finding pickledModule(const Pickle& pickle, ValueId id, const std::string& under) {
  return {"pickled-module", {{"class", std::string(pickle.text(pickle[id].callee))}, {"under", under}}};
}

// What programs call the part of a checkpoint that holds the weights, the usual first.
constexpr std::array kUsualKeys{"state_dict", "model_state_dict", "model", "net", "network", "module", "weights", "params", "generator", "ema", "state_dict_ema", "model_ema"};

Finding tellDict(const Pickle& pickle, ValueId root) {
  if (const auto tensors = tensorsOf(pickle, root)) return stateDict(*tensors, "");
  const auto& items = pickle.items(root);
  const auto valueOf = [&](std::string_view key) -> std::optional<ValueId> {
    for (size_t i = 0; i + 1 < items.size(); i += 2) {
      if (pickle.kind(items[i]) == ValueKind::text && pickle.text(items[i]) == key) return items[i + 1];
    }
    return std::nullopt;
  };
  std::vector<std::string> keys(kUsualKeys.begin(), kUsualKeys.end());
  for (size_t i = 0; i + 1 < items.size(); i += 2) {
    if (pickle.kind(items[i]) == ValueKind::text) keys.emplace_back(pickle.text(items[i]));
  }
  for (const std::string& key : keys) {
    const auto value = valueOf(key);
    if (!value) continue;
    if (const auto tensors = tensorsOf(pickle, *value)) return stateDict(*tensors, key);
    if (isModule(pickle, *value)) return pickledModule(pickle, *value, key);
  }
  return {"pickle", {}};
}

Finding tellRoot(const Pickle& pickle) {
  const ValueId root = pickle.root();
  if (pickle.kind(root) == ValueKind::dict) return tellDict(pickle, root);
  if (isTensor(pickle, root)) return {"pickled-tensors", {}};
  if (pickle.kind(root) == ValueKind::call) {
    if (isModule(pickle, root)) return pickledModule(pickle, root, "");
    return {"pickle", {{"class", std::string(pickle.text(pickle[root].callee))}}};
  }
  if (pickle.kind(root) == ValueKind::list || pickle.kind(root) == ValueKind::tuple) {
    const auto& items = pickle.items(root);
    if (std::any_of(items.begin(), items.end(), [&](ValueId id) { return isTensor(pickle, id); })) return {"pickled-tensors", {}};
  }
  return {"pickle", {}};
}

// The first pickle of a file of torch.save: 0x1950a86a20f9469cfc6c.
constexpr std::string_view kMagic("\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 j\xa8P\x19.", 15);

}  // namespace

Finding tellPickled(const std::string& bytes, size_t at) {
  try {
    return tellRoot(Pickle::read(bytes, Dialect::python, at));
  } catch (const Unfit&) {
    // Cut off, or of a program that is not known: a pickle all the same.
    return {"pickle", {}};
  }
}

Finding tellPickledFile(const std::string& bytes) {
  if (!bytes.starts_with(kMagic)) return tellPickled(bytes, 0);
  try {
    size_t at = kMagic.size();
    // The version of the layout, and sizes of C's types.
    for (int i = 0; i < 2; ++i) Pickle::read(bytes, Dialect::python, at);
    Finding finding = tellPickled(bytes, at);
    if (finding.kind == "pickle" && finding.facts.empty()) finding.kind = "torch-save";
    return finding;
  } catch (const Unfit&) {
    return {"torch-save", {}};
  }
}

}  // namespace torchgraft::archive
