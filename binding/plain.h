// Plain tensors { data: TypedArray, shape, dtype } <-> at::Tensor, and checked reads of JavaScript options.
#pragma once

#include <napi.h>

#include <string>
#include <vector>

#include "torch.h"

namespace torchgraft {

// Copies a plain tensor. A copy costs well under a millisecond a batch, and JavaScript may transfer or resize its
// buffer while native work reads it. `where` opens the message, for example "step: inputs[0]".
at::Tensor readTensor(const Napi::Value& value, const std::string& where);
std::vector<at::Tensor> readTensors(const Napi::Value& value, const std::string& where, uint32_t most = 256);

// What forward returned, made ready to cross: contiguous, on the CPU, in a dtype JavaScript has. On the model's thread.
c10::IValue detachForJs(const c10::IValue& value);
// On the JavaScript thread.
Napi::Value writeValue(Napi::Env env, const c10::IValue& value);
Napi::Value writeTensor(Napi::Env env, const at::Tensor& tensor);
// Null where one is undefined.
Napi::Value writeTensors(Napi::Env env, const std::vector<at::Tensor>& tensors);

// Checked reads of one property. They throw Failure("INVALID_TYPE" or "INVALID_VALUE") naming `where.name`.
Napi::Object readObject(const Napi::Value& value, const std::string& where);
double readNumber(const Napi::Object& object, const char* name, const std::string& where, double low, double high);
int64_t readInteger(const Napi::Object& object, const char* name, const std::string& where, int64_t low, int64_t high);
bool readBool(const Napi::Object& object, const char* name, const std::string& where);
std::string readString(const Napi::Object& object, const char* name, const std::string& where);
std::string stringOf(const Napi::Value& value, const std::string& where);
// A string without zero bytes.
std::string pathOf(const Napi::Value& value, const std::string& where);
std::vector<std::string> readStrings(const Napi::Value& value, const std::string& where);
std::vector<double> readNumbers(const Napi::Value& value, const std::string& where, double low, double high);
// undefined, null or missing.
bool isAbsent(const Napi::Object& object, const char* name);

}  // namespace torchgraft
