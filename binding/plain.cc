#include "plain.h"

#include <cmath>

#include "failure.h"
#include "native_model.h"

namespace torchgraft {

namespace {

// More elements than any sensible batch; keeps products of shapes far from overflow.
constexpr int64_t kMaxElements = int64_t{1} << 40;
constexpr uint32_t kMaxDimensions = 16;
constexpr uint32_t kMaxListLength = 1 << 20;
// V8 ends the process when it is asked for a longer typed array.
constexpr int64_t kMaxTypedArray = (int64_t{1} << 32) - 1;
constexpr double kMaxSafeInteger = 9007199254740991.0;

struct Dtype {
  const char* name;
  at::ScalarType scalar;
  napi_typedarray_type array;
};

constexpr Dtype kDtypes[] = {
    {"float32", at::kFloat, napi_float32_array}, {"float64", at::kDouble, napi_float64_array},
    {"int64", at::kLong, napi_bigint64_array},   {"int32", at::kInt, napi_int32_array},
    {"uint8", at::kByte, napi_uint8_array},      {"bool", at::kBool, napi_uint8_array},
};

const Dtype& dtypeNamed(const std::string& name, const std::string& where) {
  for (const Dtype& dtype : kDtypes) {
    if (name == dtype.name) return dtype;
  }
  throw Failure("INVALID_VALUE", where + ".dtype is '" + name +
                                     "'. Expected float32, float64, int64, int32, uint8 or bool.");
}

const Dtype& dtypeOf(at::ScalarType scalar) {
  for (const Dtype& dtype : kDtypes) {
    if (scalar == dtype.scalar) return dtype;
  }
  throw Failure("MODEL_FAILED", std::string("The model returned a tensor of type ") + at::toString(scalar) +
                                    ", which JavaScript has no typed array for.");
}

Napi::Array readArray(const Napi::Value& value, const std::string& where) {
  if (!value.IsArray()) throw Failure("INVALID_TYPE", where + " must be an array.");
  auto array = value.As<Napi::Array>();
  if (array.Length() > kMaxListLength) {
    throw Failure("INVALID_VALUE", where + " has " + std::to_string(array.Length()) + " elements, too many.");
  }
  return array;
}

std::vector<int64_t> readShape(const Napi::Value& value, const std::string& where) {
  auto array = readArray(value, where);
  if (array.Length() > kMaxDimensions) {
    throw Failure("INVALID_VALUE", where + " has " + std::to_string(array.Length()) + " dimensions; 16 are the most.");
  }
  std::vector<int64_t> shape;
  int64_t elements = 1;
  for (double size : readNumbers(value, where, 0, kMaxElements)) {
    if (size != std::floor(size)) throw Failure("INVALID_VALUE", where + " must hold whole numbers.");
    shape.push_back(static_cast<int64_t>(size));
    if (size > 0 && elements > kMaxElements / static_cast<int64_t>(size)) {
      throw Failure("INVALID_VALUE", where + " describes more elements than a tensor can have.");
    }
    elements *= static_cast<int64_t>(size);
  }
  return shape;
}

// Through the constructor of the language: where memory runs out it throws, and napi_create_arraybuffer ends the process.
Napi::ArrayBuffer newArrayBuffer(Napi::Env env, size_t bytes) {
  try {
    auto& constructor = env.GetInstanceData<AddonState>()->arrayBuffer;
    return constructor.New({Napi::Number::New(env, static_cast<double>(bytes))}).As<Napi::ArrayBuffer>();
  } catch (const Napi::Error&) {
    throw Failure("OUT_OF_MEMORY", "Node could not allocate " + std::to_string(bytes) + " bytes for an output.");
  }
}

bool arrayFits(const Dtype& dtype, napi_typedarray_type type) {
  return type == dtype.array || (dtype.array == napi_uint8_array && type == napi_uint8_clamped_array);
}

std::string describe(const Napi::Value& value) {
  switch (value.Type()) {
    case napi_undefined: return "undefined";
    case napi_null: return "null";
    case napi_boolean: return "a boolean";
    case napi_number: return "a number";
    case napi_string: return "a string";
    case napi_function: return "a function";
    default: return "something else";
  }
}

}  // namespace

at::Tensor readTensor(const Napi::Value& value, const std::string& where) {
  auto object = readObject(value, where);
  const Dtype& dtype = dtypeNamed(readString(object, "dtype", where), where);
  const std::vector<int64_t> shape = readShape(object.Get("shape"), where + ".shape");
  // Read last: a getter above could have detached the buffer.
  Napi::Value data = object.Get("data");
  if (!data.IsTypedArray()) throw Failure("INVALID_TYPE", where + ".data must be a typed array, not " + describe(data) + ".");
  napi_typedarray_type type{};
  size_t length = 0;
  void* bytes = nullptr;
  if (napi_get_typedarray_info(value.Env(), data, &type, &length, &bytes, nullptr, nullptr) != napi_ok) {
    throw Failure("INVALID_TYPE", where + ".data cannot be read.");
  }
  if (!arrayFits(dtype, type)) {
    throw Failure("INVALID_TYPE", where + ".data is not the typed array of dtype " + dtype.name + ".");
  }
  int64_t elements = 1;
  for (int64_t size : shape) elements *= size;
  if (static_cast<int64_t>(length) != elements) {
    throw Failure("SHAPE_MISMATCH", where + ".data has " + std::to_string(length) + " elements, but its shape needs " +
                                        std::to_string(elements) + ".");
  }
  at::Tensor tensor = at::empty(shape, at::TensorOptions(dtype.scalar));
  if (elements == 0) return tensor;
  if (bytes == nullptr) throw Failure("SHAPE_MISMATCH", where + ".data is detached: its buffer was transferred away.");
  if (dtype.scalar == at::kBool) {
    // A bool tensor holding anything but 0 and 1 is undefined behaviour.
    const auto* from = static_cast<const uint8_t*>(bytes);
    auto* to = tensor.mutable_data_ptr<bool>();
    for (int64_t i = 0; i < elements; ++i) to[i] = from[i] != 0;
  } else {
    std::memcpy(tensor.mutable_data_ptr(), bytes, tensor.nbytes());
  }
  return tensor;
}

std::vector<at::Tensor> readTensors(const Napi::Value& value, const std::string& where, uint32_t most) {
  auto array = readArray(value, where);
  if (array.Length() > most) throw Failure("INVALID_VALUE", where + " holds more than " + std::to_string(most) + " tensors.");
  std::vector<at::Tensor> tensors;
  const uint32_t length = array.Length();
  for (uint32_t i = 0; i < length; ++i) {
    tensors.push_back(readTensor(array.Get(i), where + "[" + std::to_string(i) + "]"));
  }
  return tensors;
}

c10::IValue detachForJs(const c10::IValue& value) {
  if (value.isTensor()) {
    at::Tensor tensor = value.toTensor();
    if (!tensor.defined()) return c10::IValue();
    tensor = tensor.detach().to(at::kCPU);
    if (tensor.is_floating_point() && tensor.scalar_type() != at::kDouble) tensor = tensor.to(at::kFloat);
    if (tensor.scalar_type() == at::kShort || tensor.scalar_type() == at::kChar) tensor = tensor.to(at::kInt);
    dtypeOf(tensor.scalar_type());
    return tensor.contiguous();
  }
  if (value.isTuple()) {
    c10::impl::GenericList list(c10::AnyType::get());
    for (const auto& element : value.toTupleRef().elements()) list.push_back(detachForJs(element));
    return list;
  }
  if (value.isList()) {
    c10::impl::GenericList list(c10::AnyType::get());
    for (const c10::IValue& element : value.toListRef()) list.push_back(detachForJs(element));
    return list;
  }
  if (value.isGenericDict()) {
    c10::impl::GenericDict dict(c10::StringType::get(), c10::AnyType::get());
    for (const auto& entry : value.toGenericDict()) {
      if (!entry.key().isString()) throw Failure("MODEL_FAILED", "The model returned a dict whose keys are not strings.");
      dict.insert(entry.key(), detachForJs(entry.value()));
    }
    return dict;
  }
  if (value.isNone() || value.isBool() || value.isInt() || value.isDouble() || value.isString()) return value;
  throw Failure("MODEL_FAILED", "The model returned a " + value.tagKind() +
                                    ". Expected tensors, or tuples, lists and dicts of them.");
}

Napi::Value writeTensor(Napi::Env env, const at::Tensor& tensor) {
  const Dtype& dtype = dtypeOf(tensor.scalar_type());
  if (tensor.numel() > kMaxTypedArray) throw Failure("OUT_OF_MEMORY", "The output has more elements than a typed array can have.");
  auto buffer = newArrayBuffer(env, tensor.nbytes());
  if (tensor.nbytes() > 0) std::memcpy(buffer.Data(), tensor.const_data_ptr(), tensor.nbytes());
  napi_value array;
  if (napi_create_typedarray(env, dtype.array, tensor.numel(), buffer, 0, &array) != napi_ok) {
    throw Failure("OUT_OF_MEMORY", "Node could not allocate an output array.");
  }
  auto shape = Napi::Array::New(env, tensor.dim());
  for (int64_t i = 0; i < tensor.dim(); ++i) shape.Set(static_cast<uint32_t>(i), static_cast<double>(tensor.size(i)));
  auto object = Napi::Object::New(env);
  object.Set("data", array);
  object.Set("shape", shape);
  object.Set("dtype", dtype.name);
  return object;
}

Napi::Value writeTensors(Napi::Env env, const std::vector<at::Tensor>& tensors) {
  auto array = Napi::Array::New(env, tensors.size());
  for (uint32_t i = 0; i < tensors.size(); ++i) {
    array.Set(i, tensors[i].defined() ? writeTensor(env, tensors[i]) : env.Null());
  }
  return array;
}

Napi::Value writeValue(Napi::Env env, const c10::IValue& value) {
  if (value.isTensor()) return writeTensor(env, value.toTensor());
  if (value.isList()) {
    auto elements = value.toListRef();
    auto array = Napi::Array::New(env, elements.size());
    for (uint32_t i = 0; i < elements.size(); ++i) array.Set(i, writeValue(env, elements[i]));
    return array;
  }
  if (value.isGenericDict()) {
    auto object = Napi::Object::New(env);
    for (const auto& entry : value.toGenericDict()) object.Set(entry.key().toStringRef(), writeValue(env, entry.value()));
    return object;
  }
  if (value.isBool()) return Napi::Boolean::New(env, value.toBool());
  if (value.isInt()) return Napi::Number::New(env, static_cast<double>(value.toInt()));
  if (value.isDouble()) return Napi::Number::New(env, value.toDouble());
  if (value.isString()) return Napi::String::New(env, value.toStringRef());
  return env.Null();
}

Napi::Object readObject(const Napi::Value& value, const std::string& where) {
  if (!value.IsObject() || value.IsFunction()) {
    throw Failure("INVALID_TYPE", where + " must be an object, not " + describe(value) + ".");
  }
  return value.As<Napi::Object>();
}

namespace {

double checkNumber(const Napi::Value& value, const std::string& where, double low, double high) {
  if (!value.IsNumber()) throw Failure("INVALID_TYPE", where + " must be a number, not " + describe(value) + ".");
  const double number = value.As<Napi::Number>().DoubleValue();
  if (!(number >= low && number <= high)) {
    throw Failure("INVALID_VALUE", where + " is " + c10::str(number) + ". Expected " + c10::str(low) + " to " + c10::str(high) + ".");
  }
  return number;
}

}  // namespace

double readNumber(const Napi::Object& object, const char* name, const std::string& where, double low, double high) {
  return checkNumber(object.Get(name), where + "." + name, low, high);
}

int64_t readInteger(const Napi::Object& object, const char* name, const std::string& where, int64_t low, int64_t high) {
  const double highest = std::min(static_cast<double>(high), kMaxSafeInteger);
  const double number = readNumber(object, name, where, static_cast<double>(low), highest);
  if (number != std::floor(number)) throw Failure("INVALID_VALUE", where + "." + name + " must be a whole number.");
  return static_cast<int64_t>(number);
}

bool readBool(const Napi::Object& object, const char* name, const std::string& where) {
  Napi::Value value = object.Get(name);
  if (!value.IsBoolean()) throw Failure("INVALID_TYPE", where + "." + name + " must be true or false, not " + describe(value) + ".");
  return value.As<Napi::Boolean>().Value();
}

std::string stringOf(const Napi::Value& value, const std::string& where) {
  if (!value.IsString()) throw Failure("INVALID_TYPE", where + " must be a string, not " + describe(value) + ".");
  return value.As<Napi::String>().Utf8Value();
}

std::string pathOf(const Napi::Value& value, const std::string& where) {
  auto path = stringOf(value, where);
  if (path.find('\0') != std::string::npos) throw Failure("INVALID_VALUE", where + " holds a zero byte.");
  return path;
}

std::string readString(const Napi::Object& object, const char* name, const std::string& where) {
  return stringOf(object.Get(name), where + "." + name);
}

std::vector<std::string> readStrings(const Napi::Value& value, const std::string& where) {
  auto array = readArray(value, where);
  std::vector<std::string> strings;
  const uint32_t length = array.Length();
  for (uint32_t i = 0; i < length; ++i) strings.push_back(stringOf(array.Get(i), where + "[" + std::to_string(i) + "]"));
  return strings;
}

std::vector<double> readNumbers(const Napi::Value& value, const std::string& where, double low, double high) {
  auto array = readArray(value, where);
  std::vector<double> numbers;
  const uint32_t length = array.Length();
  for (uint32_t i = 0; i < length; ++i) {
    numbers.push_back(checkNumber(array.Get(i), where + "[" + std::to_string(i) + "]", low, high));
  }
  return numbers;
}

bool isAbsent(const Napi::Object& object, const char* name) {
  Napi::Value value = object.Get(name);
  return value.IsUndefined() || value.IsNull();
}

}  // namespace torchgraft
