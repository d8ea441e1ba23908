// What a pickle would make, as a tree of plain values: nothing is called and nothing is imported.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace torchgraft::archive {

// `libtorch` is what its unpickler takes, and what the C++ pickler of TorchScript writes: protocol 2 and few operations,
// each checked as that unpickler does not. `python` is what programs write with torch.save and pickle.
enum class Dialect { libtorch, python };

enum class ValueKind : uint8_t {
  none,
  boolean,
  integer,
  number,
  text,
  bytes,
  tuple,
  list,
  // Items are key, value, key, value.
  dict,
  // A class or function by its name, `module.name`.
  global,
  // A call of the global `callee`; items are its argument and, where there is one, the state given to what it made.
  call,
  // A reference to a storage; its item is what names it.
  persistent,
};

using ValueId = uint32_t;

struct Value {
  ValueKind kind = ValueKind::none;
  // Of a call.
  ValueId callee = 0;
  // Where its items are, for kinds that have some.
  uint32_t items = 0;
  // Of text, bytes and globals: where they are in the pickle.
  uint32_t length = 0;
  // An integer, a boolean, the place of text.
  int64_t number = 0;
};

class Pickle {
 public:
  // Reads one pickle from `at` and moves behind it. Throws Unfit for what is none, is cut off, or does what the dialect
  // does not know.
  static Pickle read(std::string_view bytes, Dialect dialect, size_t& at);
  static Pickle read(std::string_view bytes, Dialect dialect) {
    size_t at = 0;
    return read(bytes, dialect, at);
  }

  ValueId root() const { return root_; }
  const Value& operator[](ValueId id) const { return values_[id]; }
  const std::vector<Value>& values() const { return values_; }
  const std::vector<ValueId>& items(ValueId id) const { return items_[values_[id].items]; }
  ValueKind kind(ValueId id) const { return values_[id].kind; }
  // Of text, bytes and globals.
  std::string_view text(ValueId id) const;
  // Is a call of this global.
  bool isCallOf(ValueId id, std::string_view global) const;

  // Values lie in each other at most `depth` deep, none lies in itself, and there are at most `most` of them when each is
  // counted as often as it is referred to: all that walks over them ends, and soon. Throws Unfit.
  void requireShallow(uint32_t depth, uint64_t most) const;

 private:
  friend class PickleReader;
  std::string_view bytes_;
  std::vector<Value> values_;
  std::vector<std::vector<ValueId>> items_;
  // Names that are put together from a module and a name on the stack.
  std::vector<std::string> names_;
  ValueId root_ = 0;
};

}  // namespace torchgraft::archive
