// Whether a way of computing equals the unsplit model: outputs, loss and gradients on one batch, compared by their 2-norms.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace torchgraft {

// What one forward and backward came to.
struct Outcome {
  // The main output and auxiliary ones, float32, flat.
  at::Tensor output;
  double loss = 0;
  // Of each parameter that learns, in one order; undefined where it got none.
  std::vector<std::pair<std::string, at::Tensor>> gradients;
  // It took.
  double milliseconds = 0;
};

// How far an outcome is from the reference; not a number where shapes differ, or one of the two has no gradient.
struct Deviation {
  double output = 0;
  double loss = 0;
  std::vector<double> gradients;
};

// Of several runs: the root of the mean square, for how far a single run is off is partly chance.
class Deviations {
 public:
  void add(const Deviation& deviation);
  bool any() const { return count_ > 0; }
  Deviation mean() const;

 private:
  Deviation squares_;
  int count_ = 0;
};

struct Verdict {
  bool accepted = false;
  // Of the output, and of all gradients as one, relative to the reference's norm.
  double outputDifference = 0;
  double gradientDifference = 0;
  // What deviates too far, for a person; empty where accepted.
  std::string failure;
};

// Gradients are judged whole by parameter, for single elements move by more than rounding wherever a ReLU's input is about
// zero. Some are zero but for rounding, as of a bias before a BatchNorm in training or of a key in attention: their own norm
// says nothing, so they are compared with what rounding alone makes of the reference.
class Proof {
 public:
  // reference: of the unsplit model in float32.
  explicit Proof(Outcome reference);

  // The reference again, from inputs that differ by no more than rounding does.
  void addRounding(const Outcome& nudged);
  bool hasRounding() const { return rounding_.has_value(); }

  Deviation deviationOf(const Outcome& outcome) const;

  // In float32.
  Verdict judge(const Outcome& outcome) const;
  // In a lower precision, beside what the unsplit model itself deviates by there, by autocast, in runs from the same inputs:
  // what a network makes of the same rounding differs by a factor of a hundred, so that a bound in figures would refuse good
  // plans or let wrong ones pass. Parameters of one layer count together: a bias of two numbers may come out right by chance.
  // A gradient that is somewhat too large hides in such rounding, so the same way of computing must be proven in float32 too.
  Verdict judgeLower(const Deviation& found, const Deviation& usual) const;

 private:
  double roundingOf(size_t gradient) const { return rounding_ ? rounding_->gradients[gradient] : 0; }
  // One for each layer: what its gradients come to together.
  std::vector<double> byLayer(const std::vector<double>& gradients) const;

  Outcome reference_;
  // Of the reference.
  Deviation norms_;
  std::optional<Deviation> rounding_;
  // Position of each parameter's layer in layers_.
  std::vector<size_t> layerOf_;
  std::vector<std::string> layers_;
};

}  // namespace torchgraft
