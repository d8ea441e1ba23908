// logME, hScore and ridge for JavaScript. Each call has a thread of its own while it runs.
#pragma once

#include <napi.h>

namespace torchgraft {

// logME(features, labels, classes) -> Promise<number>
Napi::Value logMEOf(const Napi::CallbackInfo& info);

// hScore(features, labels, classes, shrinkage) -> Promise<number>
Napi::Value hScoreOf(const Napi::CallbackInfo& info);

// ridge(features, targets, lambdas) -> Promise<{ weight, bias }[]>
Napi::Value ridgeOf(const Napi::CallbackInfo& info);

}  // namespace torchgraft
