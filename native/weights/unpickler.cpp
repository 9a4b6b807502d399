#include "weights/unpickler.h"

#include <cstring>
#include <set>
#include <unordered_map>

#include "weights/fail.h"

namespace flashvsr {

namespace {

constexpr std::size_t kMaxValues = 1u << 18;  // a tensor takes about 20
constexpr std::size_t kMaxRank = 16;

struct StorageType {
  std::string_view name;
  std::int64_t elementBytes;
  std::optional<DType> dtype;
};
// torch's storage classes. Those without a DType may occur in entries the model does not need (step counters).
constexpr StorageType kStorageTypes[] = {
    {"FloatStorage", 4, DType::F32}, {"HalfStorage", 2, DType::F16}, {"BFloat16Storage", 2, DType::BF16},
    {"DoubleStorage", 8, {}},        {"LongStorage", 8, {}},         {"IntStorage", 4, {}},
    {"ShortStorage", 2, {}},         {"CharStorage", 1, {}},         {"ByteStorage", 1, {}},
    {"BoolStorage", 1, {}},
};

enum Opcode : std::uint8_t {
  kMark = '(',
  kStop = '.',
  kPop = '0',
  kPopMark = '1',
  kDup = '2',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kNone = 'N',
  kBinPersId = 'Q',
  kReduce = 'R',
  kBinUnicode = 'X',
  kAppend = 'a',
  kBuild = 'b',
  kGlobal = 'c',
  kAppends = 'e',
  kBinGet = 'h',
  kInst = 'i',
  kLongBinGet = 'j',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTuple = 't',
  kSetItems = 'u',
  kEmptyDict = '}',
  kEmptyList = ']',
  kEmptyTuple = ')',
  kBinFloat = 'G',
  kProto = 0x80,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kLong1 = 0x8a,
  kShortBinUnicode = 0x8c,
  kBinUnicode8 = 0x8d,
  kStackGlobal = 0x93,
  kMemoize = 0x94,
  kFrame = 0x95,
};

enum class Kind : std::uint8_t { None, Bool, Integer, Real, Text, Tuple, List, Dict, Global, Storage, Tensor };
enum class Global : std::uint8_t { OrderedDict, RebuildTensor, StorageType };

// Values refer to each other by their place in one arena: no ownership cycles, no recursion, however deep the nesting.
using Ref = std::uint32_t;

struct Value {
  Kind kind = Kind::None;
  bool ordered = false;      // Dict: made by OrderedDict(), so a BUILD may follow
  Global global{};           // Global
  std::uint32_t which = 0;   // Global StorageType: index of kStorageTypes; Storage, Tensor: index of their tables
  std::int64_t integer = 0;  // Bool, Integer
  std::string_view text;     // Text: inside the pickle
  std::vector<Ref> items;    // Tuple, List: elements; Dict: key, value, key, value, ...
};

struct Storage {
  std::uint32_t type = 0;
  std::string_view key;
  std::int64_t elements = 0;
};

class Machine {
 public:
  Machine(std::span<const std::byte> pickle, std::string_view label) : pickle_(pickle), label_(label) {}

  PickledState run();

 private:
  [[noreturn]] void fail(std::string_view reason) const {
    FailWeights(label_, "pickle: " + std::string(reason) + " (at byte " + std::to_string(opcodeAt_) + ")");
  }

  std::span<const std::byte> take(std::uint64_t length) {
    if (length > pickle_.size() - at_) fail("ends in the middle of an opcode: truncated");
    const auto part = pickle_.subspan(at_, length);
    at_ += length;
    return part;
  }
  template <typename T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }
  std::string_view text(std::uint64_t length) {
    const auto bytes = take(length);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  std::string_view line() {
    const std::size_t start = at_;
    while (number<char>() != '\n') {
    }
    return {reinterpret_cast<const char*>(pickle_.data()) + start, at_ - start - 1};
  }

  Ref make(Kind kind) {
    if (values_.size() == kMaxValues) fail("holds more than " + std::to_string(kMaxValues) + " values");
    values_.emplace_back();
    values_.back().kind = kind;
    return static_cast<Ref>(values_.size() - 1);
  }
  void push(Ref ref) { stack_.push_back(ref); }
  // Never reaches below the topmost mark: CPython's unpickler cannot either.
  Ref pop() {
    if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) fail("takes a value from an empty stack");
    const Ref ref = stack_.back();
    stack_.pop_back();
    return ref;
  }
  std::vector<Ref> popToMark() {
    if (marks_.empty()) fail("needs a mark that is not there");
    const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<Ref> items(first, stack_.end());
    stack_.erase(first, stack_.end());
    marks_.pop_back();
    return items;
  }
  Value& top(Kind kind, std::string_view what) {
    if (stack_.size() <= (marks_.empty() ? 0 : marks_.back()) || values_[stack_.back()].kind != kind) fail(what);
    return values_[stack_.back()];
  }

  void pushInteger(std::int64_t value, Kind kind = Kind::Integer) {
    const Ref ref = make(kind);
    values_[ref].integer = value;
    push(ref);
  }
  void pushText(std::string_view value) {
    const Ref ref = make(Kind::Text);
    values_[ref].text = value;
    push(ref);
  }
  void pushTuple(std::vector<Ref> items) {
    const Ref ref = make(Kind::Tuple);
    values_[ref].items = std::move(items);
    push(ref);
  }
  void pushLastAsTuple(std::size_t count) {
    std::vector<Ref> items(count);
    for (std::size_t index = count; index-- > 0;) items[index] = pop();
    pushTuple(std::move(items));
  }
  void put(std::uint32_t slot) {
    if (stack_.empty()) fail("remembers a value from an empty stack");
    memo_[slot] = stack_.back();
  }
  void get(std::uint32_t slot) {
    const auto place = memo_.find(slot);
    if (place == memo_.end()) fail("recalls a value that was never remembered");
    push(place->second);
  }

  void pushGlobal(std::string_view module, std::string_view name);
  void pushLong(std::uint8_t length);
  void persistentId();
  void reduce();
  void rebuildTensor(const Value& arguments);
  void build();
  void setItems(std::vector<Ref> items);
  void append(const std::vector<Ref>& items);
  std::int64_t integer(Ref ref, std::string_view what) const;
  std::vector<std::int64_t> integers(Ref ref, std::string_view what) const;
  // False after STOP.
  bool step();
  const Value& stateOf(const Value& root) const;
  PickledState result();

  std::span<const std::byte> pickle_;
  std::string_view label_;
  std::size_t at_ = 0;
  std::size_t opcodeAt_ = 0;
  std::vector<Value> values_;
  std::vector<Storage> storages_;
  std::vector<PickledTensor> tensors_;
  std::vector<Ref> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint32_t, Ref> memo_;
};

void Machine::pushGlobal(std::string_view module, std::string_view name) {
  const Ref ref = make(Kind::Global);
  Value& value = values_[ref];
  if (module == "collections" && name == "OrderedDict") {
    value.global = Global::OrderedDict;
    return push(ref);
  }
  if (module == "torch._utils" && name == "_rebuild_tensor_v2") {
    value.global = Global::RebuildTensor;
    return push(ref);
  }
  if (module == "torch") {
    for (std::uint32_t type = 0; type < std::size(kStorageTypes); ++type) {
      if (kStorageTypes[type].name != name) continue;
      value.global = Global::StorageType;
      value.which = type;
      return push(ref);
    }
  }
  fail("refers to the global " + Quoted(std::string(module) + "." + std::string(name)) +
       ", which no weight file needs: the file would run code, and is refused");
}

void Machine::pushLong(std::uint8_t length) {
  if (length > sizeof(std::int64_t)) fail("has an integer of more than 64 bits");
  const auto bytes = take(length);
  std::uint64_t value = 0;
  for (std::size_t index = 0; index < bytes.size(); ++index) {
    value |= static_cast<std::uint64_t>(bytes[index]) << (8 * index);
  }
  if (length > 0 && length < 8 && (static_cast<std::uint8_t>(bytes.back()) & 0x80)) value |= ~0ull << (8 * length);
  pushInteger(static_cast<std::int64_t>(value));
}

std::int64_t Machine::integer(Ref ref, std::string_view what) const {
  const Value& value = values_[ref];
  if (value.kind != Kind::Integer) fail(std::string(what) + " is not an integer");
  if (value.integer < 0) fail(std::string(what) + " is negative");
  return value.integer;
}

std::vector<std::int64_t> Machine::integers(Ref ref, std::string_view what) const {
  const Value& value = values_[ref];
  if (value.kind != Kind::Tuple || value.items.size() > kMaxRank) {
    fail(std::string(what) + " is not a tuple of at most " + std::to_string(kMaxRank) + " integers");
  }
  std::vector<std::int64_t> numbers;
  for (const Ref item : value.items) numbers.push_back(integer(item, what));
  return numbers;
}

// torch's persistent id: ('storage', storage class, key, location, elements).
void Machine::persistentId() {
  const Value& id = values_[pop()];
  if (id.kind != Kind::Tuple || id.items.size() != 5) fail("has a persistent id that is not a storage");
  const Value& type = values_[id.items[1]];
  const Value& key = values_[id.items[2]];
  if (values_[id.items[0]].text != "storage" || type.kind != Kind::Global || type.global != Global::StorageType ||
      key.kind != Kind::Text) {
    fail("has a persistent id that is not a storage");
  }
  storages_.push_back({type.which, key.text, integer(id.items[4], "the size of a storage")});
  const Ref ref = make(Kind::Storage);
  values_[ref].which = static_cast<std::uint32_t>(storages_.size() - 1);
  push(ref);
}

// _rebuild_tensor_v2(storage, storage_offset, size, stride, requires_grad, backward_hooks[, metadata]).
void Machine::rebuildTensor(const Value& arguments) {
  if (arguments.items.size() != 6 && arguments.items.size() != 7) fail("_rebuild_tensor_v2 needs 6 or 7 arguments");
  const Value& storageValue = values_[arguments.items[0]];
  if (storageValue.kind != Kind::Storage) fail("_rebuild_tensor_v2 needs a storage");
  const Storage& storage = storages_[storageValue.which];
  const StorageType& type = kStorageTypes[storage.type];
  PickledTensor tensor;
  tensor.storageType = type.name;
  tensor.dtype = type.dtype;
  tensor.elementBytes = type.elementBytes;
  tensor.storageKey = storage.key;
  tensor.storageElements = storage.elements;
  tensor.offset = integer(arguments.items[1], "a tensor's offset");
  tensor.shape = integers(arguments.items[2], "a tensor's shape");
  tensor.strides = integers(arguments.items[3], "a tensor's strides");
  if (tensor.shape.size() != tensor.strides.size()) fail("a tensor has not as many strides as dimensions");
  tensors_.push_back(std::move(tensor));
  const Ref ref = make(Kind::Tensor);
  values_[ref].which = static_cast<std::uint32_t>(tensors_.size() - 1);
  push(ref);
}

void Machine::reduce() {
  const Ref argumentsRef = pop();
  const Ref callableRef = pop();
  const Value& callable = values_[callableRef];
  if (callable.kind != Kind::Global || values_[argumentsRef].kind != Kind::Tuple) fail("calls something it may not");
  if (callable.global == Global::RebuildTensor) return rebuildTensor(values_[argumentsRef]);
  if (callable.global != Global::OrderedDict) fail("calls a storage class");
  if (!values_[argumentsRef].items.empty()) fail("calls OrderedDict with arguments");
  const Ref ref = make(Kind::Dict);
  values_[ref].ordered = true;
  push(ref);
}

// state_dict() hangs its `_metadata` (module versions) on the OrderedDict as an attribute; nothing here needs it.
void Machine::build() {
  const Value& state = values_[pop()];
  const Value& target = top(Kind::Dict, "sets attributes of something that is not an OrderedDict");
  if (!target.ordered || state.kind != Kind::Dict) fail("sets attributes of something that is not an OrderedDict");
}

void Machine::setItems(std::vector<Ref> items) {
  if (items.size() % 2 != 0) fail("sets a dict's key without a value");
  Value& dict = top(Kind::Dict, "sets items of something that is not a dict");
  dict.items.insert(dict.items.end(), items.begin(), items.end());
}

void Machine::append(const std::vector<Ref>& items) {
  Value& list = top(Kind::List, "appends to something that is not a list");
  list.items.insert(list.items.end(), items.begin(), items.end());
}

bool Machine::step() {
  opcodeAt_ = at_;
  const auto opcode = number<std::uint8_t>();
  switch (opcode) {
    case kStop:
      return false;
    case kProto:
      if (number<std::uint8_t>() > 5) fail("has a protocol newer than 5");
      break;
    case kFrame:
      take(8);
      break;  // only a hint for buffering
    case kMark:
      marks_.push_back(stack_.size());
      break;
    case kPop:
      pop();
      break;
    case kPopMark:
      popToMark();
      break;
    case kDup: {
      const Ref ref = pop();
      push(ref);
      push(ref);
      break;
    }
    case kNone:
      push(make(Kind::None));
      break;
    case kNewTrue:
      pushInteger(1, Kind::Bool);
      break;
    case kNewFalse:
      pushInteger(0, Kind::Bool);
      break;
    case kBinInt:
      pushInteger(number<std::int32_t>());
      break;
    case kBinInt1:
      pushInteger(number<std::uint8_t>());
      break;
    case kBinInt2:
      pushInteger(number<std::uint16_t>());
      break;
    case kLong1:
      pushLong(number<std::uint8_t>());
      break;
    case kBinFloat:
      take(8);
      push(make(Kind::Real));
      break;
    case kShortBinUnicode:
      pushText(text(number<std::uint8_t>()));
      break;
    case kBinUnicode:
      pushText(text(number<std::uint32_t>()));
      break;
    case kBinUnicode8:
      pushText(text(number<std::uint64_t>()));
      break;
    case kEmptyDict:
      push(make(Kind::Dict));
      break;
    case kEmptyList:
      push(make(Kind::List));
      break;
    case kEmptyTuple:
      pushTuple({});
      break;
    case kTuple:
      pushTuple(popToMark());
      break;
    case kTuple1:
      pushLastAsTuple(1);
      break;
    case kTuple2:
      pushLastAsTuple(2);
      break;
    case kTuple3:
      pushLastAsTuple(3);
      break;
    case kAppend:
      append({pop()});
      break;
    case kAppends:
      append(popToMark());
      break;
    case kSetItem: {
      const Ref value = pop();
      const Ref key = pop();
      setItems({key, value});
      break;
    }
    case kSetItems:
      setItems(popToMark());
      break;
    case kGlobal:
    case kInst: {
      const std::string_view module = line();
      const std::string_view name = line();
      pushGlobal(module, name);
      if (opcode == kInst) fail("uses opcode INST, which no weight file needs");
      break;
    }
    case kStackGlobal: {
      const Value& name = values_[pop()];
      const Value& module = values_[pop()];
      if (name.kind != Kind::Text || module.kind != Kind::Text) fail("names a global by something that is not text");
      const std::string_view moduleText = module.text;  // pushGlobal may move the values
      const std::string_view nameText = name.text;
      pushGlobal(moduleText, nameText);
      break;
    }
    case kBinPersId:
      persistentId();
      break;
    case kReduce:
      reduce();
      break;
    case kBuild:
      build();
      break;
    case kBinPut:
      put(number<std::uint8_t>());
      break;
    case kLongBinPut:
      put(number<std::uint32_t>());
      break;
    case kMemoize:
      put(static_cast<std::uint32_t>(memo_.size()));
      break;
    case kBinGet:
      get(number<std::uint8_t>());
      break;
    case kLongBinGet:
      get(number<std::uint32_t>());
      break;
    default: {
      constexpr std::string_view kHex = "0123456789abcdef";
      fail(std::string("uses opcode 0x") + kHex[opcode >> 4] + kHex[opcode & 15] + ", which no weight file needs");
    }
  }
  return true;
}

PickledState Machine::run() {
  if (pickle_.size() > kMaxPickleBytes) {
    fail("has " + std::to_string(pickle_.size()) + " bytes; at most " + std::to_string(kMaxPickleBytes) + " are read");
  }
  values_.reserve(1024);
  while (step()) {
  }
  return result();
}

// Training code keeps a model's weights beside other things: they are then the dict under "model_state".
const Value& Machine::stateOf(const Value& root) const {
  if (root.kind != Kind::Dict) return root;
  for (std::size_t index = 0; index < root.items.size(); index += 2) {
    const Value& key = values_[root.items[index]];
    const Value& value = values_[root.items[index + 1]];
    if (key.kind == Kind::Text && key.text == "model_state" && value.kind == Kind::Dict) return value;
  }
  return root;
}

PickledState Machine::result() {
  const Value& root = stateOf(values_[pop()]);
  PickledState state;
  if (root.kind == Kind::Tensor) {
    state.singleTensor = true;
    state.tensors.emplace_back(std::string(), tensors_[root.which]);
    return state;
  }
  if (root.kind != Kind::Dict) fail("holds neither a state dict nor a tensor");
  std::set<std::string_view> seen;
  for (std::size_t index = 0; index < root.items.size(); index += 2) {
    const Value& key = values_[root.items[index]];
    const Value& value = values_[root.items[index + 1]];
    if (key.kind != Kind::Text) fail("has a state dict with a key that is not text");
    if (!seen.insert(key.text).second) fail("has the key " + Quoted(key.text) + " twice");
    if (value.kind == Kind::Tensor) {
      state.tensors.emplace_back(std::string(key.text), tensors_[value.which]);
    } else {
      state.others.emplace_back(key.text);
    }
  }
  return state;
}

}  // namespace

PickledState Unpickle(std::span<const std::byte> pickle, std::string_view label) {
  return Machine(pickle, label).run();
}

}  // namespace flashvsr
