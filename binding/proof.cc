#include "proof.h"

#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/sub.h>
#include <c10/util/StringUtil.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace torchgraft {

namespace {

constexpr auto kNaN = std::numeric_limits<double>::quiet_NaN();

// float32: folding and fusing change the order of sums, and gradients pass more of them.
constexpr double kOutput = 1e-5;
constexpr double kGradient = 1e-4;
// Two ways of rounding differ by as much as one of them from itself, nudged, up to this factor.
constexpr double kRoundings = 10;

// Lower precisions: of right plans of MobileNetV1 and V2 and of a ViT the median was .85 to 1.01 and the largest 1.46 to 1.71;
// a wrong mask came to 1.33 and 3.4, a mirrored weight gradient to .85 and 2.9, a lost residual gradient to 2.7 and 6.1.
constexpr double kMedian = 1.5;
// Fewer gradients have no median to speak of.
constexpr size_t kMany = 8;
constexpr double kLargest = 2.5;
// Of what is rounding alone both are random.
constexpr double kLargestRounding = 10;
// Below this relative error it makes no difference how much an operation rounds.
constexpr double kSlight = 0.02;

double normOf(const at::Tensor& tensor) {
  return tensor.defined() ? at::linalg_vector_norm(tensor.to(at::kFloat), 2, {}, false, at::kDouble).item<double>() : 0;
}

double distance(const at::Tensor& value, const at::Tensor& reference) {
  if (!value.defined() && !reference.defined()) return 0;
  if (!value.defined() || !reference.defined() || value.sizes() != reference.sizes()) return kNaN;
  return normOf(at::sub(value.to(at::kFloat), reference.to(at::kFloat)));
}

// 0 of 0 is 0.
double share(double part, double whole) { return part == 0 ? 0 : part / whole; }

double rootMeanSquare(double norm, const at::Tensor& tensor) { return norm / std::sqrt(std::max<double>(1, static_cast<double>(tensor.numel()))); }

std::string times(double ratio) { return c10::str(std::round(ratio * 100) / 100); }

// Of all gradients as one vector.
double whole(const std::vector<double>& parts) {
  double sum = 0;
  for (const double part : parts) sum += part * part;
  return std::sqrt(sum);
}

// NaN is larger than anything.
bool exceeds(double value, double bound) { return !(value <= bound); }

}  // namespace

void Deviations::add(const Deviation& deviation) {
  squares_.output += deviation.output * deviation.output;
  squares_.loss += deviation.loss * deviation.loss;
  squares_.gradients.resize(deviation.gradients.size(), 0);
  for (size_t i = 0; i < deviation.gradients.size(); ++i) squares_.gradients[i] += deviation.gradients[i] * deviation.gradients[i];
  ++count_;
}

Deviation Deviations::mean() const {
  const auto root = [this](double squares) { return std::sqrt(squares / count_); };
  Deviation mean{root(squares_.output), root(squares_.loss), {}};
  for (const double squares : squares_.gradients) mean.gradients.push_back(root(squares));
  return mean;
}

Proof::Proof(Outcome reference) : reference_(std::move(reference)) {
  norms_.output = normOf(reference_.output);
  norms_.loss = std::abs(reference_.loss);
  for (const auto& [name, gradient] : reference_.gradients) {
    norms_.gradients.push_back(normOf(gradient));
    const auto dot = name.rfind('.');
    const std::string layer = dot == std::string::npos ? "" : name.substr(0, dot);
    const auto found = std::find(layers_.begin(), layers_.end(), layer);
    layerOf_.push_back(static_cast<size_t>(found - layers_.begin()));
    if (found == layers_.end()) layers_.push_back(layer);
  }
}

Deviation Proof::deviationOf(const Outcome& outcome) const {
  Deviation deviation;
  deviation.output = distance(outcome.output, reference_.output);
  deviation.loss = std::abs(outcome.loss - reference_.loss);
  for (size_t i = 0; i < reference_.gradients.size(); ++i) {
    deviation.gradients.push_back(distance(outcome.gradients.at(i).second, reference_.gradients[i].second));
  }
  return deviation;
}

void Proof::addRounding(const Outcome& nudged) { rounding_ = deviationOf(nudged); }

std::vector<double> Proof::byLayer(const std::vector<double>& gradients) const {
  std::vector<double> squares(layers_.size(), 0);
  for (size_t i = 0; i < gradients.size(); ++i) squares[layerOf_[i]] += gradients[i] * gradients[i];
  for (double& square : squares) square = std::sqrt(square);
  return squares;
}

Verdict Proof::judge(const Outcome& outcome) const {
  const Deviation found = deviationOf(outcome);
  // What rounding makes of the reference counts as the bound itself.
  const auto scale = [](double norm, double rounding, double bound) { return std::max(norm, kRoundings * rounding / bound); };
  Verdict verdict;
  verdict.outputDifference = share(found.output, norms_.output);
  verdict.gradientDifference = share(whole(found.gradients), whole(norms_.gradients));
  const double output = share(found.output, scale(norms_.output, rounding_ ? rounding_->output : 0, kOutput));
  if (exceeds(output, kOutput)) verdict.failure = "the output deviates by " + c10::str(output);
  const double loss = share(found.loss, std::max(norms_.loss, rootMeanSquare(norms_.output, reference_.output)));
  if (exceeds(loss, kGradient)) verdict.failure = "the loss is " + c10::str(outcome.loss) + " instead of " + c10::str(reference_.loss);
  for (size_t i = 0; i < found.gradients.size(); ++i) {
    const double apart = share(found.gradients[i], scale(norms_.gradients[i], roundingOf(i), kGradient));
    if (exceeds(apart, kGradient)) verdict.failure = "the gradient of " + reference_.gradients[i].first + " deviates by " + c10::str(apart);
  }
  verdict.accepted = verdict.failure.empty();
  return verdict;
}

Verdict Proof::judgeLower(const Deviation& found, const Deviation& usual) const {
  Verdict verdict;
  verdict.outputDifference = share(found.output, norms_.output);
  verdict.gradientDifference = share(whole(found.gradients), whole(norms_.gradients));
  const auto refuse = [&](const std::string& what, double ratio) {
    if (verdict.failure.empty()) verdict.failure = what + " deviates " + times(ratio) + " times as much as the unsplit model's in this precision";
  };
  const double output = share(found.output, std::max(usual.output, kSlight * norms_.output));
  if (exceeds(output, kLargest)) refuse("the output", output);
  // A loss may come out right by chance, but not by more than the outputs let it.
  const double loss = share(found.loss, std::max({usual.loss, kSlight * norms_.loss, rootMeanSquare(usual.output, reference_.output)}));
  if (exceeds(loss, kLargest)) refuse("the loss", loss);
  const auto apart = byLayer(found.gradients);
  const auto beside = byLayer(usual.gradients);
  const auto norms = byLayer(norms_.gradients);
  const auto rounding = rounding_ ? byLayer(rounding_->gradients) : std::vector<double>(norms.size(), 0);
  std::vector<double> ratios;
  for (size_t i = 0; i < norms.size(); ++i) {
    const double ratio = share(apart[i], std::max(beside[i], kSlight * norms[i]));
    const bool isRounding = norms[i] <= kRoundings * rounding[i];
    if (!isRounding) ratios.push_back(ratio);
    if (exceeds(ratio, isRounding ? kLargestRounding : kLargest)) refuse("the gradient of " + (layers_[i].empty() ? "the model's own parameters" : layers_[i]), ratio);
  }
  if (verdict.failure.empty() && ratios.size() >= kMany) {
    const auto middle = ratios.begin() + static_cast<std::ptrdiff_t>(ratios.size() / 2);
    std::nth_element(ratios.begin(), middle, ratios.end());
    if (exceeds(*middle, kMedian)) refuse("in the median a gradient", *middle);
  }
  verdict.accepted = verdict.failure.empty();
  return verdict;
}

}  // namespace torchgraft
