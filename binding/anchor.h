// Penalties that hold fine-tuned weights near those of the source: L2-SP and elastic weight consolidation.
#pragma once

#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "source.h"

namespace torchgraft {

struct AnchorOptions {
  enum Kind { none, l2sp, ewc };
  Kind kind = none;
  double alpha = 0;   // l2sp: of pretrained parameters
  double beta = 0;    // l2sp: of new ones
  double lambda = 0;  // ewc
};

// l2sp: alpha/2 |w - w0|^2 over pretrained parameters and beta/2 |w|^2 over new ones (Li et al., Explicit inductive bias
// for transfer learning with convolutional networks, 2018, eq. 3). ewc: lambda/2 sum F (w - w0)^2 over pretrained ones, F
// the diagonal of the source's Fisher information (Kirkpatrick et al., Overcoming catastrophic forgetting in neural
// networks, 2017, eq. 3).
class Anchor {
 public:
  // Of `rows`' layers (name of a parameter -> number) only the first rows are meant. Throws Failure("INVALID_VALUE") for
  // ewc without a Fisher information.
  Anchor(const Model& model, const Source& source, const AnchorOptions& options, const std::unordered_set<std::string>& fresh,
         const std::unordered_map<std::string, int64_t>& rows);

  // Adds the penalty's gradient to every gradient there is: what is frozen has none. Returns the penalty.
  double pull() const;

 private:
  struct Term {
    at::Tensor parameter;
    // Undefined for 0.
    at::Tensor anchor;
    // Undefined for 1.
    at::Tensor importance;
    double strength;
    // All where it is -1.
    int64_t rows;
  };
  std::vector<Term> terms_;
};

}  // namespace torchgraft
