// The large headers of libtorch, precompiled once (25 s); every file that needs them includes this one.
#pragma once

#include <ATen/ATen.h>
#include <torch/script.h>
