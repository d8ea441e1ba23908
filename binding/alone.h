// Calls that belong to no model: each has a session, and so a thread, of its own while it runs.
#pragma once

#include <napi.h>

#include <functional>

#include "session.h"

namespace torchgraft {

// `read` makes the work from what JavaScript gave; what it throws becomes an error there, and else the result is a promise.
Napi::Value runAlone(const Napi::CallbackInfo& info, const std::function<Work()>& read);

}  // namespace torchgraft
