#include "tensors.h"

#include <limits>
#include <unordered_set>

#include "findings.h"
#include "limits.h"
#include "script.h"

namespace torchgraft::archive {

namespace {

struct StorageType {
  std::string_view name;
  const char* dtype;
  int64_t bytes;
};

constexpr StorageType kStorageTypes[] = {
    {"torch.FloatStorage", "float32", 4},      {"torch.DoubleStorage", "float64", 8},
    {"torch.HalfStorage", "float16", 2},       {"torch.BFloat16Storage", "bfloat16", 2},
    {"torch.LongStorage", "int64", 8},         {"torch.IntStorage", "int32", 4},
    {"torch.ShortStorage", "int16", 2},        {"torch.CharStorage", "int8", 1},
    {"torch.ByteStorage", "uint8", 1},         {"torch.BoolStorage", "bool", 1},
    {"torch.ComplexHalfStorage", "complex32", 4}, {"torch.ComplexFloatStorage", "complex64", 8},
    {"torch.ComplexDoubleStorage", "complex128", 16}, {"torch.QInt8Storage", "qint8", 1},
    {"torch.QUInt8Storage", "quint8", 1},      {"torch.QInt32Storage", "qint32", 4},
    {"torch.UInt16Storage", "uint16", 2},      {"torch.UInt32Storage", "uint32", 4},
    {"torch.UInt64Storage", "uint64", 8},      {"torch.Float8_e5m2Storage", "float8_e5m2", 1},
    {"torch.Float8_e4m3fnStorage", "float8_e4m3fn", 1}, {"torch.Float8_e5m2fnuzStorage", "float8_e5m2fnuz", 1},
    {"torch.Float8_e4m3fnuzStorage", "float8_e4m3fnuz", 1}, {"torch.Float8_e8m0fnuStorage", "float8_e8m0fnu", 1},
};

const StorageType* storageType(std::string_view name) {
  for (const StorageType& type : kStorageTypes) {
    if (type.name == name) return &type;
  }
  return nullptr;
}

constexpr size_t kMostDimensions = 64;

[[noreturn]] void refuse(const std::string& why) { throw Unfit("is damaged: " + why + ". It is not opened."); }

// In libtorch's pickles: "storage", its type, its key, the device, how many elements.
struct StorageClaim {
  const StorageType* type = nullptr;
  std::string_view key;
  int64_t elements = 0;
  int64_t bytes() const { return elements * type->bytes; }
};

bool isTextOf(const Pickle& pickle, ValueId id, std::string_view text) { return pickle.kind(id) == ValueKind::text && pickle.text(id) == text; }

StorageClaim readClaim(const Pickle& pickle, ValueId persistent) {
  const ValueId named = pickle.items(persistent).front();
  if (pickle.kind(named) != ValueKind::tuple) refuse("a storage in it has no name");
  const auto& parts = pickle.items(named);
  const bool isStorage = parts.size() >= 5 && isTextOf(pickle, parts[0], "storage") && pickle.kind(parts[1]) == ValueKind::global &&
                         pickle.kind(parts[2]) == ValueKind::text && pickle.kind(parts[3]) == ValueKind::text &&
                         pickle.kind(parts[4]) == ValueKind::integer;
  if (!isStorage) refuse("a storage in it is not described as PyTorch does");
  StorageClaim claim{storageType(pickle.text(parts[1])), pickle.text(parts[2]), pickle[parts[4]].number};
  if (!claim.type) throw Unfit("has numbers of a type that is not known, " + std::string(pickle.text(parts[1])) + ".");
  if (claim.elements < 0 || claim.elements > std::numeric_limits<int64_t>::max() / 16) refuse("its storage " + std::string(claim.key) + " has a size that cannot be");
  return claim;
}

std::vector<int64_t> readCounts(const Pickle& pickle, ValueId id) {
  if (pickle.kind(id) != ValueKind::tuple || pickle.items(id).size() > kMostDimensions) refuse("a tensor in it has no proper shape");
  std::vector<int64_t> counts;
  for (const ValueId item : pickle.items(id)) {
    if (pickle.kind(item) != ValueKind::integer || pickle[item].number < 0) refuse("a tensor in it has no proper shape");
    counts.push_back(pickle[item].number);
  }
  return counts;
}

// a * b + c, of numbers that are not negative; refused where it does not fit.
int64_t multiplyAdd(int64_t a, int64_t b, int64_t c) {
  int64_t product = 0, sum = 0;
  if (__builtin_mul_overflow(a, b, &product) || __builtin_add_overflow(product, c, &sum)) refuse("a tensor in it has a shape that cannot be");
  return sum;
}

struct TensorClaim {
  StorageClaim storage;
  std::vector<int64_t> shape;
};

// Arguments: the storage, where the tensor begins in it, sizes, strides.
TensorClaim readTensor(const Pickle& pickle, ValueId call) {
  const ValueId argument = pickle.items(call).front();
  if (pickle.kind(argument) != ValueKind::tuple || pickle.items(argument).size() < 4) refuse("a tensor in it is not described as PyTorch does");
  const auto& parts = pickle.items(argument);
  if (pickle.kind(parts[0]) != ValueKind::persistent || pickle.kind(parts[1]) != ValueKind::integer) refuse("a tensor in it is not described as PyTorch does");
  TensorClaim claim{readClaim(pickle, parts[0]), readCounts(pickle, parts[2])};
  const auto strides = readCounts(pickle, parts[3]);
  const int64_t offset = pickle[parts[1]].number;
  if (strides.size() != claim.shape.size() || offset < 0) refuse("a tensor in it has no proper shape");
  int64_t elements = 1, last = offset;
  for (size_t i = 0; i < strides.size(); ++i) {
    elements = multiplyAdd(elements, claim.shape[i], 0);
    if (claim.shape[i] > 0) last = multiplyAdd(claim.shape[i] - 1, strides[i], last);
  }
  if (elements > 0 && last >= claim.storage.elements) {
    refuse("a tensor in it needs more numbers than its storage " + std::string(claim.storage.key) + " is said to have");
  }
  const int64_t bytes = multiplyAdd(elements, claim.storage.type->bytes, 0);
  if (bytes > claim.storage.bytes() && static_cast<uint64_t>(bytes) > kExpandedBytes) {
    throw Unfit("has a tensor that repeats " + std::to_string(claim.storage.bytes()) + " bytes to " + std::to_string(bytes) + ". It is not opened.");
  }
  return claim;
}

// A scale and a zero point for each slice of the tensor along an axis; libtorch does not count them.
void checkChannels(const Pickle& pickle, ValueId call, const TensorClaim& tensor) {
  const auto& parts = pickle.items(pickle.items(call).front());
  if (parts.size() < 5 || pickle.kind(parts[4]) != ValueKind::tuple) refuse("a quantised tensor in it is not described as PyTorch does");
  const auto& scheme = pickle.items(parts[4]);
  if (scheme.size() < 3) refuse("a quantised tensor in it is not described as PyTorch does");
  if (pickle.kind(scheme[1]) == ValueKind::number) return;
  if (scheme.size() < 4 || pickle.kind(scheme[3]) != ValueKind::integer) refuse("a quantised tensor in it is not described as PyTorch does");
  const int64_t axis = pickle[scheme[3]].number;
  if (axis < 0 || axis >= static_cast<int64_t>(tensor.shape.size())) refuse("a quantised tensor in it has no such axis");
  for (const ValueId each : {scheme[1], scheme[2]}) {
    if (!pickle.isCallOf(each, "torch._utils._rebuild_tensor_v2")) refuse("a quantised tensor in it is not described as PyTorch does");
    if (readTensor(pickle, each).shape != std::vector<int64_t>{tensor.shape[axis]}) refuse("a quantised tensor in it has too few scales");
  }
}

void checkCall(const Pickle& pickle, ValueId call) {
  const std::string_view name = pickle.text(pickle[call].callee);
  if (name == "torch._utils._rebuild_tensor_v2") {
    readTensor(pickle, call);
  } else if (name == "torch._utils._rebuild_qtensor") {
    checkChannels(pickle, call, readTensor(pickle, call));
  } else if (name == "torch.jit._pickle.restore_type_tag") {
    const ValueId argument = pickle.items(call).front();
    if (pickle.kind(argument) != ValueKind::tuple || pickle.items(argument).size() != 2 || pickle.kind(pickle.items(argument)[1]) != ValueKind::text) {
      refuse("a type in it has no name");
    }
    checkType(pickle.text(pickle.items(argument)[1]));
  } else if (name == "torch._utils._rebuild_sparse_tensor") {
    throw Unfit("has a sparse tensor. torchgraft opens dense and quantised ones.");
  } else if (name == "torch.distributed.rpc.rref" || name == "torch._tensor._rebuild_from_type_v2") {
    throw Unfit("has an object, " + std::string(name) + ", that TorchScript does not write. It is not opened.");
  }
}

bool isClass(const Pickle& pickle, ValueId id) {
  return pickle.kind(id) == ValueKind::call && pickle.text(pickle[id].callee).starts_with("__torch__.");
}

}  // namespace

void checkTensors(const Pickle& pickle, const Directory& directory, const std::string& folder) {
  uint64_t claimed = 0, there = 0;
  for (const Record& record : directory.records()) there += record.size;
  for (ValueId id = 0; id < pickle.values().size(); ++id) {
    if (pickle.kind(id) == ValueKind::call) checkCall(pickle, id);
    if (pickle.kind(id) != ValueKind::persistent) continue;
    const StorageClaim claim = readClaim(pickle, id);
    if (claim.elements == 0) continue;
    const Record* record = directory.find(folder + "/" + std::string(claim.key));
    if (!record) refuse("its record " + folder + "/" + std::string(claim.key) + " is missing");
    if (static_cast<uint64_t>(claim.bytes()) > record->size) {
      refuse("its record " + record->name + " has " + std::to_string(record->size) + " bytes, where " + std::to_string(claim.bytes()) + " are said to be");
    }
    // Each claim is read into memory of its own.
    claimed += record->size;
    if (claimed > kInflatedSlack + 4 * there) throw Unfit("refers to the same records so often that they would take " + std::to_string(claimed) + " bytes of memory. It is not opened.");
  }
}

ModuleContent listModule(const Pickle& pickle, size_t most) {
  ModuleContent content;
  std::unordered_set<ValueId> seen;
  std::vector<std::pair<ValueId, std::string>> waiting{{pickle.root(), ""}};
  std::unordered_set<std::string> classes;
  while (!waiting.empty()) {
    auto [id, path] = std::move(waiting.back());
    waiting.pop_back();
    if (!seen.insert(id).second) continue;
    if (pickle.isCallOf(id, "torch._utils._rebuild_tensor_v2") || pickle.isCallOf(id, "torch._utils._rebuild_qtensor")) {
      const TensorClaim tensor = readTensor(pickle, id);
      if (content.tensors.size() < most) content.tensors.push_back({path, tensor.storage.type->dtype, tensor.shape});
    } else if (pickle.isCallOf(id, "torch._utils._rebuild_parameter")) {
      const ValueId argument = pickle.items(id).front();
      if (pickle.kind(argument) == ValueKind::tuple && !pickle.items(argument).empty()) waiting.emplace_back(pickle.items(argument)[0], path);
    } else if (isClass(pickle, id)) {
      const std::string name(pickle.text(pickle[id].callee));
      if (classes.insert(name).second && content.classes.size() < most) content.classes.push_back(name);
      const ValueId state = pickle.items(id).front();
      if (pickle.kind(state) != ValueKind::dict) continue;
      const auto& items = pickle.items(state);
      // The last goes first in, so that the first comes first out.
      for (size_t i = items.size(); i >= 2; i -= 2) {
        if (pickle.kind(items[i - 2]) != ValueKind::text) continue;
        const std::string key(pickle.text(items[i - 2]));
        waiting.emplace_back(items[i - 1], path.empty() ? key : path + "." + key);
      }
    }
  }
  return content;
}

}  // namespace torchgraft::archive
