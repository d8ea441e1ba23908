// Plants faults in ways of computing a small network, for proof.test.ts: one JSON object a line, what each was judged.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>

#include <cmath>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include "../../binding/proof.h"

namespace {

using namespace torchgraft;
using at::Tensor;

struct Parameter {
  std::string name;
  Tensor value;
};

class Network {
 public:
  Tensor add(const std::string& name, at::IntArrayRef shape, double deviation, double mean = 0, bool learns = true) {
    const Tensor value = (at::randn(shape) * deviation + mean).set_requires_grad(learns);
    if (learns) parameters_.push_back({name, value});
    return value;
  }

  // The loss is cross entropy.
  Outcome run(const std::function<Tensor(const Tensor&)>& forward, const Tensor& images, const Tensor& labels) {
    for (Parameter& parameter : parameters_) parameter.value.mutable_grad() = Tensor();
    const Tensor output = forward(images.clone()).to(at::kFloat);
    const Tensor loss = at::cross_entropy_loss(output, labels);
    loss.backward();
    Outcome outcome{output.detach(), loss.item<double>(), {}, 0};
    for (const auto& [name, value] : parameters_) outcome.gradients.emplace_back(name, value.grad().defined() ? value.grad().clone() : Tensor());
    return outcome;
  }

 private:
  std::vector<Parameter> parameters_;
};

// The value of `forward`, the gradient of `backward`.
Tensor graft(const Tensor& forward, const Tensor& backward) { return backward + (forward - backward).detach(); }

class Bfloat16 {
 public:
  explicit Bfloat16(bool on) : on_(on) {
    at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
    at::autocast::set_autocast_enabled(at::kCPU, on);
  }
  ~Bfloat16() {
    at::autocast::set_autocast_enabled(at::kCPU, false);
    if (on_) at::autocast::clear_cache();
  }

 private:
  bool on_;
};

// Convolution, fixed BatchNorm, and ReLU6 or nothing.
struct Layer {
  std::string name;
  Tensor weight, gamma, beta, mean, variance;
  int64_t stride, groups;
  bool active;
};

// MobileNetV2's kind: inverted residual blocks.
class Mobile {
 public:
  Mobile() {
    stem_ = layer("stem", 12, 3, 3, 2, 1, true);
    for (int block = 0; block < 5; ++block) {
      const std::string name = "block" + std::to_string(block);
      const int64_t stride = block == 2 ? 2 : 1;
      blocks_.push_back({layer(name + ".expand", 36, 12, 1, 1, 1, true), layer(name + ".deep", 36, 1, 3, stride, 36, true),
                         layer(name + ".project", 12, 36, 1, 1, 1, false)});
    }
    weight_ = network_.add("fc.weight", {4, 12}, 0.5);
    bias_ = network_.add("fc.bias", {4}, 0.1);
  }

  Outcome reference(const Tensor& images, const Tensor& labels, bool lower) {
    const Bfloat16 autocast(lower);
    fault_ = "";
    return network_.run([&](const Tensor& x) { return forward(x, [&](const Tensor& in, const Layer& layer) { return unfolded(in, layer); }); }, images, labels);
  }

  Outcome folded(const std::string& fault, const Tensor& images, const Tensor& labels, bool lower) {
    const Bfloat16 autocast(lower);
    fault_ = fault;
    return network_.run([&](const Tensor& x) { return forward(x, [&](const Tensor& in, const Layer& layer) { return withFault(in, layer); }); }, images, labels);
  }

 private:
  Layer layer(const std::string& name, int64_t out, int64_t in, int64_t side, int64_t stride, int64_t groups, bool active) {
    const double deviation = std::sqrt(2.0 / static_cast<double>(in * side * side));
    return {name,
            network_.add(name + ".conv.weight", {out, in, side, side}, deviation),
            network_.add(name + ".norm.weight", {out}, 0.2, 1),
            network_.add(name + ".norm.bias", {out}, 0.5, 0.5),
            network_.add("", {out}, 0.1, 0, false),
            network_.add("", {out}, 0.1, 1, false).abs() + 0.1,
            stride,
            groups,
            active};
  }

  // TensorFlow's padding, by which the side matters where the stride is 2.
  static Tensor padded(const Tensor& x, const Layer& layer, bool otherSide = false) {
    if (layer.weight.size(2) == 1) return x;
    if (layer.stride == 1) return at::constant_pad_nd(x, {1, 1, 1, 1});
    return otherSide ? at::constant_pad_nd(x, {1, 0, 1, 0}) : at::constant_pad_nd(x, {0, 1, 0, 1});
  }

  static Tensor convolve(const Tensor& in, const Tensor& weight, const Tensor& bias, const Layer& l) {
    const std::vector<int64_t> stride{l.stride, l.stride}, none{0, 0}, one{1, 1};
    return at::conv2d(in, weight, bias, stride, none, one, l.groups);
  }

  static Tensor unfolded(const Tensor& in, const Layer& l) {
    const Tensor x = convolve(padded(in, l), l.weight, Tensor(), l);
    const Tensor y = at::batch_norm(x, l.gamma, l.beta, l.mean, l.variance, false, 0, 1e-5, false);
    return l.active ? at::clamp(y, 0, 6) : y;
  }

  Tensor withFault(const Tensor& in, const Layer& l) const {
    const bool isPlanted = l.name == "block2.deep";
    const Tensor scale = l.gamma / (l.variance + 1e-5).sqrt();
    Tensor weight = l.weight;
    if (isPlanted && fault_ == "mirrored") weight = graft(weight, weight.flip({3}));
    if (l.weight.size(1) == 1 && fault_ == "enlarged") weight = graft(weight, weight * 1.1);
    weight = weight * scale.view({-1, 1, 1, 1});
    Tensor bias = l.beta - l.mean * scale;
    if (isPlanted && fault_ == "no bias gradient") bias = bias.detach();
    const Tensor y = convolve(padded(in, l, isPlanted && fault_ == "padding"), weight, bias, l);
    if (!l.active) return y;
    return fault_ == "mask" ? graft(at::clamp(y, 0, 6), at::relu(y)) : at::clamp(y, 0, 6);
  }

  template <class Apply>
  Tensor forward(const Tensor& images, const Apply& apply) const {
    Tensor x = apply(images, stem_);
    for (size_t i = 0; i < blocks_.size(); ++i) {
      Tensor y = x;
      for (const Layer& layer : blocks_[i]) y = apply(y, layer);
      // The third halves the map.
      if (y.sizes() != x.sizes()) {
        x = y;
      } else {
        x = y + (i == 3 && fault_ == "residual" ? x.detach() : x);
      }
    }
    return at::linear(x.mean(at::IntArrayRef{2, 3}), weight_, bias_);
  }

  Network network_;
  Layer stem_;
  std::vector<std::vector<Layer>> blocks_;
  Tensor weight_, bias_;
  std::string fault_;
};

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? '\'' : c;
  return out + "\"";
}

void print(const std::string& network, const std::string& fault, const std::string& precision, const Verdict& verdict) {
  std::cout << "{\"network\":" << quoted(network) << ",\"fault\":" << quoted(fault) << ",\"precision\":" << quoted(precision)
            << ",\"accepted\":" << (verdict.accepted ? "true" : "false") << ",\"failure\":" << quoted(verdict.failure) << "}\n";
}

Tensor nudged(const Tensor& images, double most, double phase) {
  return images * (1 + most * (at::arange(images.numel(), at::kFloat) * 0.7 + phase).sin().view(images.sizes()));
}

void judgeMobile(uint64_t seed) {
  at::manual_seed(seed);
  Mobile mobile;
  const Tensor images = at::randn({8, 3, 24, 24});
  const Tensor labels = at::arange(8, at::kLong).remainder(4);
  Proof proof(mobile.reference(images, labels, false));
  proof.addRounding(mobile.reference(nudged(images, std::ldexp(1, -20), 0), labels, false));
  std::vector<Tensor> inputs{images};
  for (const double phase : {1, 2}) inputs.push_back(nudged(images, std::ldexp(1, -9), phase));
  Deviations usual;
  for (const Tensor& input : inputs) usual.add(proof.deviationOf(mobile.reference(input, labels, true)));
  for (const std::string fault : {"none", "mask", "residual", "padding", "mirrored", "no bias gradient", "enlarged"}) {
    print("mobile", fault, "float32", proof.judge(mobile.folded(fault, images, labels, false)));
    Deviations found;
    for (const Tensor& input : inputs) found.add(proof.deviationOf(mobile.folded(fault, input, labels, true)));
    print("mobile", fault, "bfloat16", proof.judgeLower(found.mean(), usual.mean()));
  }
}

// A convolution's bias in front of a BatchNorm that learns has no gradient but rounding.
void judgeZeroGradients(uint64_t seed) {
  at::manual_seed(seed);
  Network network;
  const Tensor weight = network.add("conv.weight", {16, 3, 3, 3}, 0.3);
  const Tensor bias = network.add("conv.bias", {16}, 0.3);
  const Tensor gamma = network.add("norm.weight", {16}, 0.2, 1);
  const Tensor beta = network.add("norm.bias", {16}, 0.3);
  const Tensor last = network.add("fc.weight", {4, 16}, 0.5);
  const Tensor images = at::randn({8, 3, 24, 24});
  const Tensor labels = at::arange(8, at::kLong).remainder(4);
  const auto run = [&](const std::string& fault, const Tensor& input, bool lower) {
    const Bfloat16 autocast(lower);
    return network.run(
        [&](const Tensor& x) {
          // Another order of the same sums.
          const Tensor in = fault == "reference" ? x : x.flip({0, 3});
          const Tensor kernel = fault == "reference" ? weight : weight.flip({3});
          Tensor y = at::conv2d(in, kernel, bias, at::IntArrayRef{1, 1}, at::IntArrayRef{1, 1}, at::IntArrayRef{1, 1}, 1);
          if (fault == "bias gradient") y = y + 0.01 * (bias - bias.detach()).view({1, -1, 1, 1}) * in.narrow(1, 0, 1);
          y = at::relu(at::batch_norm(y, gamma, beta, {}, {}, true, 0.1, 1e-5, false));
          const Tensor output = at::linear(y.mean(at::IntArrayRef{2, 3}), last);
          return fault == "reference" ? output : output.flip({0});
        },
        input, labels);
  };
  Proof proof(run("reference", images, false));
  print("zero", "unknown rounding", "float32", proof.judge(run("none", images, false)));
  proof.addRounding(run("reference", nudged(images, std::ldexp(1, -20), 0), false));
  Deviations usual;
  for (const double phase : {1, 2, 3}) usual.add(proof.deviationOf(run("reference", nudged(images, std::ldexp(1, -9), phase), true)));
  for (const std::string fault : {"none", "bias gradient"}) {
    print("zero", fault, "float32", proof.judge(run(fault, images, false)));
    Deviations found;
    for (const double phase : {1, 2, 3}) found.add(proof.deviationOf(run(fault, nudged(images, std::ldexp(1, -9), phase), true)));
    if (fault == "none") print("zero", fault, "bfloat16", proof.judgeLower(found.mean(), usual.mean()));
  }
}

// Shapes that differ, gradients on one side alone, and numbers that are none.
void judgeStrange() {
  const auto outcome = [](const Tensor& gradient, double loss = 1) { return Outcome{at::ones({2, 3}), loss, {{"a.weight", gradient}}, 0}; };
  Proof proof(outcome(at::ones({3})));
  print("strange", "same", "float32", proof.judge(outcome(at::ones({3}))));
  print("strange", "shape", "float32", proof.judge(outcome(at::ones({3, 1}))));
  print("strange", "none", "float32", proof.judge(outcome({})));
  print("strange", "not a number", "float32", proof.judge(outcome(at::full({3}, NAN))));
  print("strange", "loss", "float32", proof.judge(outcome(at::ones({3}), 1.01)));
  print("strange", "loss not a number", "float32", proof.judge(outcome(at::ones({3}), NAN)));
  Proof empty(outcome({}));
  print("strange", "none on both sides", "float32", empty.judge(outcome({})));
  print("strange", "none in the reference", "float32", empty.judge(outcome(at::ones({3}))));
  Proof zero(outcome(at::zeros({3})));
  print("strange", "zero on both sides", "float32", zero.judge(outcome(at::zeros({3}))));
  print("strange", "zero in the reference", "float32", zero.judge(outcome(at::ones({3}))));
}

}  // namespace

int main() {
  at::set_num_threads(1);
  for (const uint64_t seed : {2, 3, 4, 5}) {
    judgeMobile(seed);
    judgeZeroGradients(seed);
  }
  judgeStrange();
  return 0;
}
