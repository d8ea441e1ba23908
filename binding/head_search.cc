#include "head_search.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "graph.h"
#include "graph_paths.h"
#include "grafts.h"
#include "node_facts.h"
#include "outputs.h"
#include "pooling.h"
#include "specialise.h"
#include "value_origin.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;

bool names(const std::string& text, std::initializer_list<const char*> words) {
  std::string lower = text;
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  return std::any_of(words.begin(), words.end(), [&](const char* word) { return lower.find(word) != std::string::npos; });
}

// What a person calls the main output of a classifier, and what an auxiliary one.
bool isCalledMain(const std::string& name) { return names(name, {"logit"}) && !names(name, {"aux"}); }
bool isCalledAuxiliary(const std::string& name) { return names(name, {"aux"}); }

std::optional<c10::IValue> argument(const jit::Node* node, const char* name) {
  const auto* schema = node->maybeSchema();
  const auto at = schema ? schema->argumentIndexWithName(name) : std::nullopt;
  return at && static_cast<size_t>(*at) < node->inputs().size() ? jit::toIValue(node->input(*at)) : std::nullopt;
}

// Has another number of outputs with another first dimension of its weight: no transposed or grouped convolution.
bool isPlain(const jit::Node* layer) {
  const auto transposed = argument(layer, "transposed");
  const auto groups = argument(layer, "groups");
  return !(transposed && transposed->isBool() && transposed->toBool()) && !(groups && groups->isInt() && groups->toInt() != 1);
}

// Decisions, not scores.
bool givesIndices(const std::vector<const jit::Node*>& passed) {
  return std::any_of(passed.begin(), passed.end(), [](const jit::Node* node) {
    static constexpr std::array<const char*, 12> kNames{"aten::argmax", "aten::argmin", "aten::argsort", "aten::eq", "aten::ne", "aten::lt",
                                                        "aten::gt", "aten::le", "aten::ge", "aten::multinomial", "aten::bincount", "aten::logical_not"};
    return std::any_of(kNames.begin(), kNames.end(), [&](const char* name) { return node->kind() == c10::Symbol::fromQualString(name); });
  });
}

// An output with what it is made by.
struct Traced {
  Output output;
  int index = 0;
  Origin origin;
  // The layers of `origin`, each module once, and why they are no heads; empty where they are.
  std::vector<std::string> modules;
  std::string problem;
  // Operations between them and the output, the last first.
  std::vector<const jit::Node*> passed;
};

class Reading {
 public:
  Reading(const jit::Module& module, jit::Graph& open, bool training)
      : module_(module), graph_(settled(open, training)), paths_(*graph_), origins_(module, paths_) {
    int index = 0;
    for (Output& output : outputsOf(*graph_)) add(std::move(output), index++);
  }

  const std::vector<Traced>& outputs() const { return outputs_; }
  const Traced* at(const OutputPlace& place) const {
    const auto found = std::find_if(outputs_.begin(), outputs_.end(), [&](const Traced& traced) { return traced.output.place == place; });
    return found == outputs_.end() ? nullptr : &*found;
  }

  // Whether the heads of one output compute on whatever makes the other, as on features.
  static bool feedsInto(const Traced& from, const Traced& to) {
    const auto isOnTheWay = [&](const jit::Node* earlier) {
      return std::any_of(to.origin.layers.begin(), to.origin.layers.end(), [&](const jit::Node* later) { return later != earlier && feeds(earlier, later); });
    };
    const auto& [layers, obstacles, obstacle] = from.origin;
    return layers.size() + obstacles.size() > 0 && std::all_of(layers.begin(), layers.end(), isOnTheWay) &&
           std::all_of(obstacles.begin(), obstacles.end(), isOnTheWay);
  }

  // The first output that depends on a layer.
  const Traced* dependentOn(const std::string& layer) const {
    for (const WeightUse& use : usesOf(*graph_, paths_, layer)) {
      for (const Traced& traced : outputs_) {
        const auto& ends = traced.origin.layers;
        if (std::any_of(ends.begin(), ends.end(), [&](const jit::Node* end) { return feeds(use.node, end); })) return &traced;
      }
    }
    return nullptr;
  }

  // A layer as the head that makes this output.
  std::optional<Head> headOf(const std::string& layer, const Traced* made) const {
    std::optional<Head> head = headAt(module_, layer);
    if (!head) return std::nullopt;
    const auto uses = usesOf(*graph_, paths_, layer);
    if (!uses.empty()) {
      const jit::Node* node = uses.back().node;
      head->cosine = isCosineProduct(untransposed(node->input(uses.back().weight))->node());
      head->pooling = poolingBefore(node->input(uses.back().input));
    }
    if (!made) return head;
    head->output = made->index;
    head->place = made->output.place;
    for (auto node = made->passed.rbegin(); node != made->passed.rend(); ++node) head->after.emplace_back(operationOf(*node));
    return head;
  }

 private:
  void add(Output output, int index) {
    Traced traced{std::move(output), index, {}, {}, "", {}};
    for (const jit::Value* value : traced.output.values) {
      traced.origin.add(origins_.of(value));
      const auto passed = origins_.passedBefore(value);
      traced.passed.insert(traced.passed.end(), passed.begin(), passed.end());
    }
    for (const jit::Node* layer : traced.origin.layers) {
      const std::string path = parentOf(*origins_.weightOf(layer));
      if (std::find(traced.modules.begin(), traced.modules.end(), path) == traced.modules.end()) traced.modules.push_back(path);
    }
    std::sort(traced.modules.begin(), traced.modules.end(), [this](const std::string& a, const std::string& b) { return isBefore(a, b); });
    traced.problem = problemOf(traced);
    outputs_.push_back(std::move(traced));
  }

  // As modules are listed.
  bool isBefore(const std::string& a, const std::string& b) {
    if (order_.empty()) {
      for (const auto& entry : module_.named_modules()) order_.emplace(entry.name, order_.size());
    }
    return order_[a] < order_[b];
  }

  std::string problemOf(const Traced& traced) const {
    const auto& [layers, obstacles, obstacle] = traced.origin;
    if (!obstacles.empty()) return "it is made by " + obstacle + ", which is no Linear or Conv2d layer" + (layers.empty() ? "" : ", beside " + listed(traced.modules));
    if (layers.empty()) return "no Linear or Conv2d layer makes it";
    for (const jit::Node* layer : layers) {
      const std::string path = parentOf(*origins_.weightOf(layer));
      if (!headAt(module_, path) || !isPlain(layer)) return "it is made by `" + path + "`, which is no Linear or plain Conv2d layer";
    }
    const int64_t width = headAt(module_, traced.modules[0])->outFeatures;
    for (const std::string& path : traced.modules) {
      if (headAt(module_, path)->outFeatures != width) return "it is made of " + listed(traced.modules) + ", which have other numbers of outputs";
    }
    for (const jit::Node* layer : layers) {
      for (const jit::Node* other : layers) {
        if (layer != other && feeds(layer, other)) return "it is made of " + listed(traced.modules) + ", of which one computes on what another gives";
      }
    }
    return "";
  }

  static std::string listed(const std::vector<std::string>& paths) {
    std::string text;
    for (const std::string& path : paths) text += (text.empty() ? "`" : ", `") + path + "`";
    return text;
  }

  const jit::Module& module_;
  std::shared_ptr<jit::Graph> graph_;
  Paths paths_;
  OriginFinder origins_;
  std::vector<Traced> outputs_;
  std::unordered_map<std::string, size_t> order_;
};

// The output that is the main one, of those that a layer makes where one is given; nullptr where there is none. Whether heads make
// it, its problem tells.
const Traced* mainOf(const std::vector<Traced>& outputs, const std::string* layer = nullptr) {
  std::vector<const Traced*> possible;
  for (const Traced& traced : outputs) {
    if (givesIndices(traced.passed) || (layer && std::count(traced.modules.begin(), traced.modules.end(), *layer) == 0)) continue;
    if (isCalledMain(traced.output.name)) return &traced;
    possible.push_back(&traced);
  }
  // Features and maps are what heads of other outputs compute on.
  const auto isOnTheWay = [&](const Traced* traced) {
    return std::any_of(possible.begin(), possible.end(), [&](const Traced* other) { return other != traced && other->problem.empty() && Reading::feedsInto(*traced, *other); });
  };
  const auto first = std::find_if_not(possible.begin(), possible.end(), isOnTheWay);
  if (first == possible.end()) return possible.empty() ? nullptr : possible.front();
  // Of scores and what is made of them, the scores.
  const Traced* found = *first;
  for (const Traced* other : possible) {
    if (other->problem.empty() && other->modules == found->modules && other->passed.size() < found->passed.size()) found = other;
  }
  return found;
}

class HeadFinder {
 public:
  HeadFinder(const jit::Module& module, jit::Graph& open, const KnownHeads& known)
      : module_(module), known_(known), eval_(module, open, false), train_(module, open, true) {}

  FoundHeads find() {
    addMain();
    if (!found_.heads.empty()) addAuxiliary();
    return std::move(found_);
  }

 private:
  void addMain() {
    const Traced* made = nullptr;
    if (!known_.main.empty()) {
      made = mainOf(eval_.outputs(), &known_.main[0]);
      if (!made) made = eval_.dependentOn(known_.main[0]);
      if (made) found_.place = made->output.place;
      for (const std::string& layer : known_.main) {
        if (auto head = eval_.headOf(layer, made)) found_.heads.push_back(*head);
      }
      return;
    }
    made = mainOf(eval_.outputs());
    if (made) found_.place = made->output.place;
    found_.problem = made ? made->problem : "forward returns no floating-point tensor";
    if (!found_.problem.empty()) return;
    for (const std::string& layer : made->modules) found_.heads.push_back(*eval_.headOf(layer, made));
    // Other layers may make it in training.
    const Traced* trained = train_.at(found_.place);
    if (!trained || !trained->problem.empty() || headAt(module_, trained->modules[0])->outFeatures != found_.heads[0].outFeatures) return;
    for (const std::string& layer : trained->modules) {
      if (!isMain(layer)) found_.heads.push_back(*train_.headOf(layer, trained));
    }
  }

  bool isMain(const std::string& layer) const {
    return std::any_of(found_.heads.begin(), found_.heads.end(), [&](const Head& head) { return head.module == layer; });
  }

  void addAuxiliary() {
    const Traced* main = train_.at(found_.place);
    const int64_t width = found_.heads[0].outFeatures;
    for (const Traced& traced : train_.outputs()) {
      if (&traced == main || !traced.problem.empty() || givesIndices(traced.passed)) continue;
      for (const std::string& layer : traced.modules) {
        if (isMain(layer)) continue;
        const bool isHead = known_.auxiliary ? std::count(known_.auxiliary->begin(), known_.auxiliary->end(), layer) > 0
                                             : isAuxiliary(traced, layer) && !(main && Reading::feedsInto(traced, *main));
        std::optional<Head> head = train_.headOf(layer, &traced);
        if (!isHead || !head || (!known_.auxiliary && head->outFeatures != width)) continue;
        head->isAuxiliary = true;
        found_.heads.push_back(*head);
      }
    }
  }

  bool isAuxiliary(const Traced& traced, const std::string& layer) const {
    return !eval_.at(traced.output.place) || isCalledAuxiliary(traced.output.name) || isCalledAuxiliary(layer);
  }

  const jit::Module& module_;
  const KnownHeads& known_;
  Reading eval_;
  Reading train_;
  FoundHeads found_;
};

}  // namespace

std::optional<Head> headAt(const jit::Module& module, const std::string& path) {
  const jit::Module layer = submodule(module, path);
  if (!layer.hasattr("weight") || !layer.attr("weight").isTensor()) return std::nullopt;
  const at::Tensor weight = layer.attr("weight").toTensor();
  if (weight.dim() != 2 && weight.dim() != 4) return std::nullopt;
  Head head;
  head.module = path;
  head.convolution = weight.dim() == 4;
  head.outFeatures = weight.size(0);
  head.inFeatures = weight.size(1);
  head.hasBias = layer.hasattr("bias") && layer.attr("bias").isTensor();
  return head;
}

FoundHeads findHeads(const jit::Module& module, jit::Graph& open, const KnownHeads& known) { return HeadFinder(module, open, known).find(); }

}  // namespace torchgraft
