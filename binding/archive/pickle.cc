#include "pickle.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "findings.h"
#include "limits.h"

namespace torchgraft::archive {

namespace {

[[noreturn]] void refuse(const std::string& why) { throw Unfit("is damaged: a pickle in it " + why + "."); }

// Of a name that is not in the pickle's own bytes, `length` says which of `names_` it is.
constexpr int64_t kMadeName = -1;

}  // namespace

class PickleReader {
 public:
  PickleReader(std::string_view bytes, Dialect dialect, size_t at) : bytes_(bytes), dialect_(dialect), at_(at) {
    result_.bytes_ = bytes;
  }

  Pickle read() {
    readProtocol();
    while (step()) {
    }
    if (stack_.size() != 1 || !marks_.empty()) refuse("does not end with one value");
    result_.root_ = stack_.back();
    return std::move(result_);
  }

  size_t at() const { return at_; }

 private:
  bool isPython() const { return dialect_ == Dialect::python; }

  uint8_t byte() {
    if (at_ >= bytes_.size()) refuse("is cut off");
    return static_cast<uint8_t>(bytes_[at_++]);
  }

  uint64_t number(size_t width) {
    if (width > bytes_.size() - at_) refuse("is cut off");
    uint64_t value = 0;
    for (size_t i = width; i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes_[at_ + i]);
    at_ += width;
    return value;
  }

  std::string_view take(uint64_t length) {
    if (length > bytes_.size() - at_) refuse("is cut off");
    const auto taken = bytes_.substr(at_, length);
    at_ += length;
    return taken;
  }

  std::string_view line() {
    const auto end = bytes_.find('\n', at_);
    if (end == std::string_view::npos) refuse("is cut off");
    const auto taken = bytes_.substr(at_, end - at_);
    at_ = end + 1;
    return taken;
  }

  void readProtocol() {
    if (isPython() && at_ < bytes_.size() && static_cast<uint8_t>(bytes_[at_]) != 0x80) return;
    if (byte() != 0x80) refuse("does not begin as one");
    const uint8_t protocol = byte();
    if (isPython() ? protocol > 5 : protocol != 2) refuse("is of protocol " + std::to_string(protocol));
  }

  ValueId add(Value value) {
    if (result_.values_.size() >= kMostValues) throw Unfit("has a pickle of over " + std::to_string(kMostValues) + " values. No model has so many, and it is not opened.");
    result_.values_.push_back(value);
    return static_cast<ValueId>(result_.values_.size() - 1);
  }

  ValueId addContainer(ValueKind kind, std::vector<ValueId> items) {
    Value value;
    value.kind = kind;
    value.items = static_cast<uint32_t>(result_.items_.size());
    result_.items_.push_back(std::move(items));
    return add(value);
  }

  void push(ValueKind kind, int64_t number = 0) {
    Value value;
    value.kind = kind;
    value.number = number;
    stack_.push_back(add(value));
  }

  void pushText(ValueKind kind, std::string_view text) {
    Value value;
    value.kind = kind;
    value.number = text.data() - bytes_.data();
    value.length = static_cast<uint32_t>(text.size());
    stack_.push_back(add(value));
  }

  void pushGlobal(std::string name) {
    if (name.size() > kNameBytes) refuse("names a class of " + std::to_string(name.size()) + " letters");
    auto [known, isNew] = globals_.try_emplace(name, 0);
    if (isNew) {
      Value value;
      value.kind = ValueKind::global;
      value.number = kMadeName;
      value.length = static_cast<uint32_t>(result_.names_.size());
      result_.names_.push_back(std::move(name));
      known->second = add(value);
    }
    stack_.push_back(known->second);
  }

  // Values above the last mark belong to what is being built.
  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

  ValueId pop() {
    if (stack_.size() <= floor()) refuse("takes more values than it has");
    const ValueId id = stack_.back();
    stack_.pop_back();
    return id;
  }

  ValueId top() const {
    if (stack_.size() <= floor()) refuse("takes more values than it has");
    return stack_.back();
  }

  std::vector<ValueId> popMarked() {
    if (marks_.empty()) refuse("takes more values than it has");
    const size_t from = marks_.back();
    marks_.pop_back();
    std::vector<ValueId> items(stack_.begin() + static_cast<std::ptrdiff_t>(from), stack_.end());
    stack_.resize(from);
    return items;
  }

  void pushTuple(size_t count) {
    std::vector<ValueId> items(count);
    for (size_t i = count; i-- > 0;) items[i] = pop();
    stack_.push_back(addContainer(ValueKind::tuple, std::move(items)));
  }

  void append(const std::vector<ValueId>& items) {
    Value& target = result_.values_[top()];
    // An object of a class of Python's may take items as well; what they are does not matter here.
    if (target.kind == ValueKind::call && isPython()) return;
    if (target.kind != ValueKind::list) refuse("appends to what is no list");
    auto& list = result_.items_[target.items];
    list.insert(list.end(), items.begin(), items.end());
  }

  void setItems(const std::vector<ValueId>& items) {
    if (items.size() % 2 != 0) refuse("has a key without a value");
    Value& target = result_.values_[top()];
    if (target.kind == ValueKind::call && isPython()) return;
    if (target.kind != ValueKind::dict) refuse("sets keys of what is no dict");
    auto& dict = result_.items_[target.items];
    dict.insert(dict.end(), items.begin(), items.end());
  }

  void remember(uint64_t slot) {
    // Slots are counted up; a large one would make libtorch reserve memory for all below it.
    if (slot > bytes_.size()) refuse("remembers a value in a place that cannot be");
    if (slot >= memo_.size()) memo_.resize(slot + 1, kForgotten);
    memo_[slot] = top();
  }

  void recall(uint64_t slot) {
    if (slot >= memo_.size() || memo_[slot] == kForgotten) refuse("recalls what it has not remembered");
    stack_.push_back(memo_[slot]);
  }

  // torch.save of before 2020 wrote classes of modules as references: "module", the class, its source.
  ValueId classOf(ValueId id) const {
    if (!isPython() || result_.kind(id) != ValueKind::persistent) return id;
    const ValueId named = result_.items(id).front();
    if (result_.kind(named) != ValueKind::tuple || result_.items(named).size() < 2) return id;
    return result_.items(named)[1];
  }

  void call() {
    const ValueId argument = pop();
    const ValueId callee = classOf(pop());
    if (result_.kind(callee) != ValueKind::global) {
      if (!isPython()) refuse("calls what is no class");
      // What a method of an object gives.
      stack_.push_back(addContainer(ValueKind::tuple, {callee, argument}));
      return;
    }
    if (isPython() && result_.text(callee) == "collections.OrderedDict") {
      stack_.push_back(addContainer(ValueKind::dict, {}));
      return;
    }
    const ValueId made = addContainer(ValueKind::call, {argument});
    result_.values_[made].callee = callee;
    stack_.push_back(made);
  }

  // In libtorch a class is called with its state. In Python the object is there already, and is given its state.
  void build() {
    if (!isPython()) return call();
    const ValueId state = pop();
    const Value& target = result_.values_[top()];
    if (target.kind == ValueKind::call) result_.items_[target.items].push_back(state);
  }

  void persist() { stack_.push_back(addContainer(ValueKind::persistent, {pop()})); }

  bool step() {
    const uint8_t code = byte();
    switch (code) {
      case '.': return false;
      case '(': marks_.push_back(stack_.size()); break;
      case 'N': push(ValueKind::none); break;
      case 0x88: push(ValueKind::boolean, 1); break;
      case 0x89: push(ValueKind::boolean, 0); break;
      case 'K': push(ValueKind::integer, static_cast<int64_t>(number(1))); break;
      case 'M': push(ValueKind::integer, static_cast<int64_t>(number(2))); break;
      case 'J': push(ValueKind::integer, static_cast<int32_t>(number(4))); break;
      case 'G': number(8); push(ValueKind::number); break;
      case 0x8a: longInteger(byte()); break;
      case 'X': pushText(ValueKind::text, take(number(4))); break;
      case ']': stack_.push_back(addContainer(ValueKind::list, {})); break;
      case '}': stack_.push_back(addContainer(ValueKind::dict, {})); break;
      case ')': stack_.push_back(addContainer(ValueKind::tuple, {})); break;
      case 't': stack_.push_back(addContainer(ValueKind::tuple, popMarked())); break;
      case 'l': stack_.push_back(addContainer(ValueKind::list, popMarked())); break;
      case 'd': {
        auto items = popMarked();
        if (items.size() % 2 != 0) refuse("has a key without a value");
        stack_.push_back(addContainer(ValueKind::dict, std::move(items)));
        break;
      }
      case 0x85: pushTuple(1); break;
      case 0x86: pushTuple(2); break;
      case 0x87: pushTuple(3); break;
      case 'a': { const ValueId item = pop(); append({item}); break; }
      case 'e': { const auto items = popMarked(); append(items); break; }
      case 's': { const ValueId value = pop(), key = pop(); setItems({key, value}); break; }
      case 'u': { const auto items = popMarked(); setItems(items); break; }
      case 'q': remember(number(1)); break;
      case 'r': remember(number(4)); break;
      case 'h': recall(number(1)); break;
      case 'j': recall(number(4)); break;
      case 'c': {
        const auto module = line();
        const auto name = line();
        pushGlobal(std::string(module) + "." + std::string(name));
        break;
      }
      case 'R': call(); break;
      case 0x81: isPython() ? call() : static_cast<void>(pop()); break;
      case 'b': build(); break;
      case 'Q': persist(); break;
      default:
        if (!isPython() || !stepOfPython(code)) refuse("does what PyTorch does not (" + std::to_string(code) + ")");
    }
    return true;
  }

  void longInteger(uint64_t length) {
    if (!isPython() && length != 8) refuse("has an integer of " + std::to_string(length) + " bytes");
    const auto digits = take(length);
    uint64_t value = 0;
    for (size_t i = std::min<size_t>(8, digits.size()); i-- > 0;) value = value << 8 | static_cast<uint8_t>(digits[i]);
    push(ValueKind::integer, static_cast<int64_t>(value));
  }

  // What protocols other than 2, and other picklers, write besides.
  bool stepOfPython(uint8_t code) {
    switch (code) {
      case 0x80: byte(); return true;
      case 0x95: number(8); return true;
      case 0x94: remember(memo_.size()); return true;
      case 0x8b: longInteger(number(4)); return true;
      case 0x8c: pushText(ValueKind::text, take(number(1))); return true;
      case 0x8d: pushText(ValueKind::text, take(number(8))); return true;
      case 'U': pushText(ValueKind::text, take(number(1))); return true;
      case 'T': pushText(ValueKind::text, take(number(4))); return true;
      case 'C': pushText(ValueKind::bytes, take(number(1))); return true;
      case 'B': pushText(ValueKind::bytes, take(number(4))); return true;
      case 0x8e: pushText(ValueKind::bytes, take(number(8))); return true;
      case 0x96: pushText(ValueKind::bytes, take(number(8))); return true;
      case 'S': case 'V': pushText(ValueKind::text, line()); return true;
      case 'I': case 'L': line(); push(ValueKind::integer); return true;
      case 'F': line(); push(ValueKind::number); return true;
      case 'p': remember(decimal(line())); return true;
      case 'g': recall(decimal(line())); return true;
      case 'P': pushText(ValueKind::text, line()); persist(); return true;
      case '0': pop(); return true;
      case '1': popMarked(); return true;
      case '2': stack_.push_back(top()); return true;
      case 0x8f: stack_.push_back(addContainer(ValueKind::list, {})); return true;
      case 0x90: { const auto items = popMarked(); append(items); return true; }
      case 0x91: stack_.push_back(addContainer(ValueKind::list, popMarked())); return true;
      case 0x92: pop(); call(); return true;
      case 0x93: {
        const ValueId name = pop(), module = pop();
        if (result_.kind(name) != ValueKind::text || result_.kind(module) != ValueKind::text) refuse("names a class by what is no text");
        pushGlobal(std::string(result_.text(module)) + "." + std::string(result_.text(name)));
        return true;
      }
      default: return false;
    }
  }

  static uint64_t decimal(std::string_view digits) {
    uint64_t value = 0;
    for (const char digit : digits) {
      if (digit < '0' || digit > '9' || value > UINT32_MAX) refuse("remembers a value in a place that cannot be");
      value = value * 10 + static_cast<uint64_t>(digit - '0');
    }
    return value;
  }

  static constexpr ValueId kForgotten = UINT32_MAX;

  std::string_view bytes_;
  Dialect dialect_;
  size_t at_;
  Pickle result_;
  std::vector<ValueId> stack_;
  std::vector<size_t> marks_;
  std::vector<ValueId> memo_;
  std::unordered_map<std::string, ValueId> globals_;
};

Pickle Pickle::read(std::string_view bytes, Dialect dialect, size_t& at) {
  if (bytes.size() > kPickleBytes) throw Unfit("has a pickle of " + std::to_string(bytes.size() >> 20) + " MiB. No model has one so large, and it is not opened.");
  PickleReader reader(bytes, dialect, at);
  Pickle pickle = reader.read();
  at = reader.at();
  return pickle;
}

std::string_view Pickle::text(ValueId id) const {
  const Value& value = values_[id];
  if (value.kind == ValueKind::global) return names_[value.length];
  return bytes_.substr(static_cast<size_t>(value.number), value.length);
}

bool Pickle::isCallOf(ValueId id, std::string_view global) const {
  return values_[id].kind == ValueKind::call && text(values_[id].callee) == global;
}

void Pickle::requireShallow(uint32_t depth, uint64_t most) const {
  // Depth and number of what lies in each value; 0: not looked at yet.
  std::vector<uint32_t> depths(values_.size(), 0);
  std::vector<uint64_t> counts(values_.size(), 0);
  std::vector<bool> isOpen(values_.size(), false);
  std::vector<std::pair<ValueId, size_t>> way;
  const auto hasItems = [&](ValueId id) { return values_[id].kind >= ValueKind::tuple && values_[id].kind != ValueKind::global; };
  const auto enter = [&](ValueId id) {
    if (isOpen[id]) throw Unfit("has a pickle in which a value lies in itself. It is not opened.");
    depths[id] = counts[id] = 1;
    if (!hasItems(id)) return;
    if (way.size() >= depth) throw Unfit("has values that lie in each other over " + std::to_string(depth) + " deep. No network is written so, and it is not opened.");
    isOpen[id] = true;
    way.emplace_back(id, 0);
  };
  for (ValueId start = 0; start < values_.size(); ++start) {
    if (depths[start] == 0) enter(start);
    while (!way.empty()) {
      auto& [id, next] = way.back();
      const auto& children = items(id);
      if (next == children.size()) {
        isOpen[id] = false;
        for (const ValueId child : children) {
          depths[id] = std::max(depths[id], depths[child] + 1);
          counts[id] = std::min<uint64_t>(counts[id] + counts[child], most + 1);
        }
        if (depths[id] > depth) throw Unfit("has values that lie in each other over " + std::to_string(depth) + " deep. No network is written so, and it is not opened.");
        if (counts[id] > most) throw Unfit("has a pickle whose values refer to each other so often that it would have over " + std::to_string(most) + ". It is not opened.");
        way.pop_back();
        continue;
      }
      const ValueId child = children[next++];
      if (isOpen[child] || depths[child] == 0) enter(child);
    }
  }
}

}  // namespace torchgraft::archive
