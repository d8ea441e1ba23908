#include "transferability.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "failure.h"

namespace torchgraft {

namespace {

// Float64 elements of one part of the rows: 64 MiB.
constexpr int64_t kPart = 1 << 23;

// float64 [count, c] of the rows from `from` on.
using Targets = std::function<at::Tensor(int64_t from, int64_t count)>;

Targets oneHot(const at::Tensor& labels, int64_t classes) {
  return [labels, classes](int64_t from, int64_t count) { return at::one_hot(labels.narrow(0, from, count), classes).to(at::kDouble); };
}

// Rows in parts of which the float64 copies are small.
template <class Visit>
void eachPart(const at::Tensor& features, int64_t columns, const Visit& visit) {
  const int64_t rows = features.size(0);
  const int64_t atOnce = std::clamp<int64_t>(kPart / (features.size(1) + columns), 1, rows);
  for (int64_t from = 0; from < rows; from += atOnce) visit(from, std::min(atOnce, rows - from));
}

at::Tensor meanOf(const at::Tensor& features) {
  at::Tensor sum = at::zeros({features.size(1)}, at::kDouble);
  eachPart(features, 0, [&](int64_t from, int64_t count) { sum += features.narrow(0, from, count).sum(0, false, at::kDouble); });
  if (!sum.isfinite().all().item<bool>()) throw Failure("INVALID_VALUE", "The features are not finite throughout.");
  return sum / features.size(0);
}

// What all three are made of: with X = U S V', the squares of S and U' Y, where Y are targets.
struct Spectrum {
  // d <= n: then `vectors` are V [d, k], else U [n, k].
  bool isTall = true;
  at::Tensor vectors;
  // S^2 [k], those apart from rounding: as many as X has rank.
  at::Tensor squares;
  // U' Y [k, c].
  at::Tensor projected;
  // |x|^2 of each row, [n].
  at::Tensor rowSquares;
};

// The products that stand for X: X'X and X'Y where it is tall, XX' and Y where it is wide.
struct Products {
  at::Tensor gram;
  at::Tensor targets;
  at::Tensor rowSquares;
};

// mean: what is taken from each row, [d].
Products multiply(const at::Tensor& features, const at::Tensor& mean, const Targets& targets, int64_t columns, bool isTall) {
  const int64_t n = features.size(0);
  const int64_t d = features.size(1);
  Products products{{}, {}, at::empty({n}, at::kDouble)};
  if (isTall) {
    products.gram = at::zeros({d, d}, at::kDouble);
    products.targets = at::zeros({d, columns}, at::kDouble);
    eachPart(features, columns, [&](int64_t from, int64_t count) {
      const at::Tensor part = features.narrow(0, from, count).to(at::kDouble).sub_(mean);
      products.gram.addmm_(part.t(), part);
      products.targets.addmm_(part.t(), targets(from, count));
      products.rowSquares.narrow(0, from, count).copy_(part.square().sum(1));
    });
    return products;
  }
  const at::Tensor whole = features.to(at::kDouble).sub_(mean);
  products.gram = at::mm(whole, whole.t());
  products.targets = targets(0, n);
  products.rowSquares = products.gram.diagonal().clone();
  return products;
}

Spectrum decompose(const at::Tensor& features, const at::Tensor& mean, const Targets& targets, int64_t columns) {
  Spectrum spectrum;
  spectrum.isTall = features.size(1) <= features.size(0);
  const Products products = multiply(features, mean, targets, columns, spectrum.isTall);
  const auto [squares, vectors] = at::linalg_eigh(products.gram);
  // Ascending. Below this they are rounding, and so are their directions: of the products, and, where features are
  // constant, of what is left when their mean is taken away.
  constexpr double kRounding = std::numeric_limits<double>::epsilon();
  const auto n = static_cast<double>(features.size(0));
  const double ofProducts = squares[-1].item<double>() * static_cast<double>(std::max(features.size(0), features.size(1))) * kRounding;
  const double ofMeans = n * mean.square().sum().item<double>() * (16 * kRounding) * (16 * kRounding);
  const int64_t rank = squares.gt(std::max({ofProducts, ofMeans, 0.0})).sum().item<int64_t>();
  const int64_t size = squares.size(0);
  spectrum.squares = squares.narrow(0, size - rank, rank).contiguous();
  spectrum.vectors = vectors.narrow(1, size - rank, rank);
  spectrum.projected = at::mm(spectrum.vectors.t(), products.targets);
  if (spectrum.isTall) spectrum.projected = spectrum.projected / spectrum.squares.sqrt().unsqueeze(1);
  spectrum.rowSquares = products.rowSquares;
  return spectrum;
}

// x: (U' y)^2 [k]; residue: |y|^2 that U does not reach.
double evidenceOf(const double* squares, const double* x, int64_t k, double residue, double n) {
  // Of the authors: they keep precisions finite.
  constexpr double kEpsilon = 1e-5;
  constexpr int kMost = 11;
  constexpr double kTolerance = 1e-3;
  double alpha = 1;
  double beta = 1;
  double misfit = 0;
  double length = 0;
  for (int round = 0; round < kMost; ++round) {
    const double t = alpha / beta;
    double gamma = 0;
    length = 0;
    misfit = residue;
    // n - gamma, term by term: where features tell everything, nothing would be left of the difference.
    double rest = n - static_cast<double>(k);
    for (int64_t i = 0; i < k; ++i) {
      const double sum = squares[i] + t;
      gamma += squares[i] / sum;
      rest += t / sum;
      length += squares[i] * x[i] / (sum * sum);
      misfit += x[i] * (t / sum) * (t / sum);
    }
    alpha = gamma / (length + kEpsilon);
    beta = rest / (misfit + kEpsilon);
    if (std::abs(alpha / beta - t) <= kTolerance * t) break;
  }
  // d/2 log(alpha) - 1/2 log det(alpha + beta X'X), of all d directions: those that the features do not reach cancel.
  double logRatio = 0;
  for (int64_t i = 0; i < k; ++i) logRatio -= 0.5 * std::log1p(beta / alpha * squares[i]);
  return (n / 2 * std::log(beta) + logRatio - beta / 2 * misfit - alpha / 2 * length - n / 2 * std::log(2 * M_PI)) / n;
}

// The share of the scaled identity that Ledoit and Wolf mix into the covariance, and its scale: A well-conditioned
// estimator for large-dimensional covariance matrices, 2004.
struct Shrinkage {
  double share = 0;
  double scale = 0;
};

Shrinkage ledoitWolf(const Spectrum& spectrum, double n, double d) {
  const double trace = spectrum.rowSquares.sum().item<double>() / n;
  const double scale = trace / d;
  // One feature has nothing to be mixed with.
  if (d == 1) return {0, scale};
  const double squared = spectrum.squares.square().sum().item<double>() / (n * n);
  const double fourth = spectrum.rowSquares.square().sum().item<double>() / n;
  const double spread = (squared - 2 * scale * trace + d * scale * scale) / d;
  const double error = std::min((fourth - squared) / (d * n), spread);
  return {error > 0 ? error / spread : 0, scale};
}

}  // namespace

double logME(const at::Tensor& features, const at::Tensor& labels, int64_t classes) {
  const at::NoGradGuard guard;
  meanOf(features);  // refuses what is not finite
  const Spectrum spectrum = decompose(features, at::zeros({1}, at::kDouble), oneHot(labels, classes), classes);
  const auto n = static_cast<double>(features.size(0));
  const at::Tensor counts = at::bincount(labels, {}, classes).to(at::kDouble);
  const at::Tensor x = spectrum.projected.square().t().contiguous();
  const at::Tensor residues = (counts - x.sum(1)).clamp_min(0).contiguous();
  const int64_t k = spectrum.squares.size(0);
  double sum = 0;
  for (int64_t c = 0; c < classes; ++c) {
    sum += evidenceOf(spectrum.squares.const_data_ptr<double>(), x.const_data_ptr<double>() + c * k, k, residues.const_data_ptr<double>()[c], n);
  }
  return sum / static_cast<double>(classes);
}

double hScore(const at::Tensor& features, const at::Tensor& labels, int64_t classes, bool shrinkage) {
  const at::NoGradGuard guard;
  const Spectrum spectrum = decompose(features, meanOf(features), oneHot(labels, classes), classes);
  if (spectrum.squares.size(0) == 0) return 0;
  // Along each direction, of the centred features: |class means|^2, each as often as the class has samples, over S^2.
  const at::Tensor counts = at::bincount(labels, {}, classes).to(at::kDouble).clamp_min(1);
  const at::Tensor explained = (spectrum.projected.square() / counts).sum(1);
  if (!shrinkage) return explained.sum().item<double>();
  const auto n = static_cast<double>(features.size(0));
  const Shrinkage mixed = ledoitWolf(spectrum, n, static_cast<double>(features.size(1)));
  const at::Tensor variances = spectrum.squares * ((1 - mixed.share) / n) + mixed.share * mixed.scale;
  // The covariance of the class means counts n - 1, that of Ledoit and Wolf n.
  return (1 - mixed.share) * (explained * spectrum.squares / (n - 1) / variances).sum().item<double>();
}

std::vector<RidgeSolution> ridge(const at::Tensor& features, const at::Tensor& targets, const std::vector<double>& lambdas) {
  const at::NoGradGuard guard;
  const at::Tensor mean = meanOf(features);
  const at::Tensor offset = targets.mean(0);
  if (!offset.isfinite().all().item<bool>()) throw Failure("INVALID_VALUE", "ridge: the targets are not finite throughout.");
  const Targets centred = [&](int64_t from, int64_t count) { return targets.narrow(0, from, count) - offset; };
  const Spectrum spectrum = decompose(features, mean, centred, targets.size(1));
  const at::Tensor roots = spectrum.squares.sqrt();
  std::vector<RidgeSolution> solutions;
  for (const double lambda : lambdas) {
    // Tall: V S / (S^2 + lambda) U'Y. Wide: X' U / (S^2 + lambda) U'Y.
    const at::Tensor factor = (spectrum.isTall ? roots : at::ones_like(roots)) / (spectrum.squares + lambda);
    at::Tensor weight = at::mm(spectrum.vectors, spectrum.projected * factor.unsqueeze(1));
    if (!spectrum.isTall) weight = at::mm(features.to(at::kDouble).sub_(mean).t(), weight);
    const at::Tensor bias = offset - at::mv(weight.t(), mean);
    solutions.push_back({weight.t().to(at::kFloat).contiguous(), bias.to(at::kFloat)});
  }
  return solutions;
}

}  // namespace torchgraft
