#include "split.h"

#include <torch/csrc/jit/ir/alias_analysis.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include <algorithm>
#include <unordered_set>

#include "graph_paths.h"
#include "node_facts.h"
#include "specialise.h"
#include "standardiser.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;
namespace prim = c10::prim;

using Values = std::vector<jit::Value*>;

bool isTensor(const jit::Value* value) { return value->type()->isSubtypeOf(*c10::TensorType::get()); }

// What one statement of forward, with its inner blocks, reads and writes.
struct Statement {
  jit::Node* node;
  Values reads;
  Values writes;
  // A learning parameter, a flag that is on in training, something random, or a change of the module.
  bool seed = false;
  // Depends on forward's inputs.
  bool varies = false;
  bool hot = false;

  // Makes a container of values, or takes one apart.
  bool isContainer() const {
    const auto kind = node->kind();
    return kind == prim::ListConstruct || kind == prim::TupleConstruct || kind == prim::TupleUnpack ||
           kind == prim::ListUnpack || kind == prim::TupleIndex;
  }
};

class Splitter {
 public:
  Splitter(std::shared_ptr<jit::Graph> graph, const jit::Module& module)
      : graph_(std::move(graph)), module_(module), paths_(*graph_), written_(writtenAttributes(*graph_, paths_)), aliases_(graph_) {
    for (jit::Node* node : graph_->nodes()) addStatement(node);
    spreadVariation();
    do {
      while (spread()) {
      }
      findCrossing();
    } while (separateAliases());
  }

  Split make() {
    Split split;
    if (!forked_.empty()) return whole("its forward runs parts asynchronously (" + forked_ + ")");
    if (std::none_of(statements_.begin(), statements_.end(), [](const Statement& s) { return s.hot; })) {
      return whole("nothing that learns leads to its output");
    }
    const auto isInput = [this](jit::Value* value) { return value->node() == graph_->param_node(); };
    for (const Statement& statement : statements_) {
      if (statement.hot || statement.varies) noteLayers(statement, statement.hot ? split.suffixLayers : split.prefixLayers);
    }
    if (split.prefixLayers.empty() || std::all_of(crossing_.begin(), crossing_.end(), isInput)) return whole("what learns begins at its input");
    split.prefix = makePrefix();
    if (!split.prefix) return whole("its frozen part reads an object that is no tensor");
    split.suffix = makeSuffix();
    split.tensorsOnly = std::all_of(crossing_.begin(), crossing_.end(), isTensor);
    eachNode(split.prefix->block(), [&](const jit::Node* node) { split.tensorsOnly = split.tensorsOnly && !readsOutNumber(node); });
    return split;
  }

 private:
  Split whole(const std::string& reason) {
    Split split;
    split.suffix = graph_->copy();
    for (const Statement& statement : statements_) noteLayers(statement, split.suffixLayers);
    split.reason = reason;
    return split;
  }

  bool isSeed(const jit::Node* node) {
    if (node->kind() == prim::SetAttr || drawsNumbers(node) || updatesStatistics(node)) return true;
    if (node->kind() == prim::fork || node->kind() == prim::awaitable) forked_ = node->kind().toQualString();
    const std::string* path = node->kind() == prim::GetAttr ? paths_.of(node->output()) : nullptr;
    if (!path) return false;
    const c10::IValue value = attributeAt(module_, *path);
    if (value.isObject()) return false;
    // Its mean and std are set when features are known: what is kept of the trunk must not depend on them.
    if (isOfStandardiser(module_, *path)) return true;
    // What is no tensor and was not made a constant by specialise() changes: a flag, or what forward assigns.
    return written_.count(*path) > 0 || !value.isTensor() || value.toTensor().requires_grad();
  }

  void addStatement(jit::Node* node) {
    Statement statement{node, {}, {}};
    std::unordered_set<const jit::Node*> own;
    const auto add = [&](jit::Node* inner) {
      own.insert(inner);
      statement.seed = statement.seed || isSeed(inner);
      const auto* schema = inner->maybeSchema();
      for (size_t i = 0; i < inner->inputs().size(); ++i) {
        jit::Value* value = inner->input(i);
        statement.reads.push_back(value);
        const auto* alias = schema && i < schema->arguments().size() ? schema->arguments()[i].alias_info() : nullptr;
        if (alias && alias->isWrite()) statement.writes.push_back(value);
      }
    };
    add(node);
    for (jit::Block* block : node->blocks()) {
      eachNode(block, add);
      own.insert(block->param_node());
      for (jit::Value* output : block->outputs()) statement.reads.push_back(output);
      eachNode(block, [&](jit::Node* inner) {
        for (jit::Block* deeper : inner->blocks()) {
          own.insert(deeper->param_node());
          for (jit::Value* output : deeper->outputs()) statement.reads.push_back(output);
        }
      });
    }
    auto& reads = statement.reads;
    reads.erase(std::remove_if(reads.begin(), reads.end(), [&](jit::Value* value) { return own.count(value->node()) > 0; }), reads.end());
    owner_[node] = statements_.size();
    statements_.push_back(std::move(statement));
  }

  // What is written with values that depend on the inputs depends on them, and so do its aliases: a tensor of zeros that
  // is filled, a list that is appended to.
  void spreadVariation() {
    for (bool changed = true; changed;) {
      changed = false;
      for (Statement& statement : statements_) {
        for (jit::Value* value : statement.reads) statement.varies = statement.varies || varies(value);
        if (!statement.varies) continue;
        for (Statement& other : statements_) {
          // Attributes that are written to learn or change: they are no constants in the first place.
          if (other.varies || other.node->kind() == prim::GetAttr) continue;
          if (!touch(statement.writes, {other.node->outputs().begin(), other.node->outputs().end()})) continue;
          other.varies = true;
          changed = true;
        }
      }
    }
  }

  // Two crossing values that share memory would no longer do so where the suffix writes into it: the later one is then
  // made of the earlier one in the suffix. True when more statements turned hot.
  bool separateAliases() {
    for (jit::Value* first : crossing_) {
      for (jit::Value* second : crossing_) {
        const auto maker = owner_.find(second->node());
        if (first == second || maker == owner_.end() || !(reaches(first, second) || reaches(second, first))) continue;
        const auto before = owner_.find(first->node());
        if (before != owner_.end() && before->second > maker->second) continue;
        const bool written = std::any_of(statements_.begin(), statements_.end(), [&](const Statement& statement) {
          return statement.hot && touch(statement.writes, {first, second});
        });
        if (!written) continue;
        statements_[maker->second].hot = true;
        return true;
      }
    }
    return false;
  }

  const Statement* makerOf(const jit::Value* value) const {
    const auto found = owner_.find(value->node());
    return found == owner_.end() ? nullptr : &statements_[found->second];
  }
  bool varies(const jit::Value* value) const {
    const Statement* maker = makerOf(value);
    return maker ? maker->varies : value != graph_->inputs().at(0);
  }

  // Two attributes are one when their paths are, or where they are tied; a batch is never one. AliasDb knows neither.
  bool mayAlias(const jit::Value* a, const jit::Value* b) const {
    const auto isFixed = [this](const jit::Value* value) { return paths_.of(value) || value->node() == graph_->param_node(); };
    if (isFixed(a) && isFixed(b)) return a == b || (paths_.of(a) && paths_.of(b) && isOneAttribute(*paths_.of(a), *paths_.of(b)));
    return aliases_.mayAlias(a, b);
  }
  bool isOneAttribute(const std::string& a, const std::string& b) const {
    if (a == b) return true;
    const c10::IValue one = attributeAt(module_, a);
    const c10::IValue other = attributeAt(module_, b);
    return one.isTensor() && other.isTensor() && one.toTensor().defined() && other.toTensor().defined() && one.toTensor().is_alias_of(other.toTensor());
  }
  // A write to a tensor is seen through the lists that hold it; one to a list by those alone who have the list.
  bool reaches(jit::Value* written, jit::Value* other) const {
    if (isTensor(other)) return isTensor(written) && mayAlias(written, other);
    const auto kind = other->type()->kind();
    const bool holds = kind == c10::TypeKind::ListType || kind == c10::TypeKind::DictType || kind == c10::TypeKind::TupleType;
    return holds && aliases_.mayContainAlias(written, other);
  }
  bool touch(const Values& written, const Values& others) const {
    return std::any_of(written.begin(), written.end(), [&](jit::Value* w) {
      return std::any_of(others.begin(), others.end(), [&](jit::Value* other) { return reaches(w, other); });
    });
  }
  // A list as it is here is not what it was made of.
  bool isChanged(jit::Value* container) const {
    return std::any_of(statements_.begin(), statements_.end(), [&](const Statement& statement) {
      return std::any_of(statement.writes.begin(), statement.writes.end(), [&](const jit::Value* w) { return !isTensor(w) && aliases_.mayAlias(w, container); });
    });
  }

  // One pass over the statements in order; true when more of them turned hot. The prefix runs before the suffix, so a
  // cold statement may neither read what an earlier hot one has written, nor write what an earlier hot one reads.
  bool spread() {
    bool changed = false;
    Values hotReads;
    Values hotWrites;
    for (Statement& statement : statements_) {
      if (!statement.hot) {
        const bool feeds = std::any_of(statement.reads.begin(), statement.reads.end(), [this](const jit::Value* value) {
          const Statement* maker = makerOf(value);
          return maker && maker->hot;
        });
        statement.hot = statement.seed || feeds || touch(hotWrites, statement.reads) || touch(statement.writes, hotReads);
        changed = changed || statement.hot;
      }
      if (!statement.hot) continue;
      hotReads.insert(hotReads.end(), statement.reads.begin(), statement.reads.end());
      hotWrites.insert(hotWrites.end(), statement.writes.begin(), statement.writes.end());
    }
    return changed;
  }

  void findCrossing() {
    crossing_.clear();
    needed_.clear();
    for (const Statement& statement : statements_) {
      if (!statement.hot) continue;
      for (jit::Value* value : statement.reads) need(value);
    }
    for (jit::Value* output : graph_->outputs()) need(output);
  }

  // What was put together in forward can be put together, and taken apart, in the suffix again. Parts of what an
  // operation gave as a list, as chunk() does, cross one by one.
  bool isRepeated(const Statement& statement) const {
    if (!statement.isContainer()) return false;
    const auto kind = statement.node->kind();
    if (kind == prim::ListConstruct || kind == prim::TupleConstruct) return !isChanged(statement.node->output());
    const Statement* maker = makerOf(statement.node->input(0));
    return maker && isRepeated(*maker);
  }

  void need(jit::Value* value) {
    if (!varies(value) || !needed_.insert(value).second) return;
    const Statement* maker = makerOf(value);
    if (maker && maker->hot) return;
    if (maker && isRepeated(*maker)) {
      for (jit::Value* inner : maker->reads) need(inner);
      return;
    }
    crossing_.push_back(value);
  }

  // Position of a value: which statement (or the inputs, -1) and which of its outputs. The same in a copy of the graph.
  std::vector<jit::Value*> crossingIn(jit::Graph& copy) const {
    std::vector<jit::Node*> nodes(copy.nodes().begin(), copy.nodes().end());
    std::vector<jit::Value*> values;
    for (const jit::Value* value : crossing_) {
      const auto found = owner_.find(value->node());
      values.push_back(found == owner_.end() ? copy.inputs().at(value->offset()) : nodes[found->second]->output(value->offset()));
    }
    return values;
  }

  std::shared_ptr<jit::Graph> makePrefix() const {
    auto prefix = graph_->copy();
    const auto crossing = crossingIn(*prefix);
    while (!prefix->outputs().empty()) prefix->eraseOutput(0);
    for (jit::Value* value : crossing) prefix->registerOutput(value);
    destroy(*prefix, [](const Statement& statement) { return statement.hot; });
    return holdParameters(prefix, module_) ? prefix : nullptr;
  }

  std::shared_ptr<jit::Graph> makeSuffix() const {
    auto suffix = graph_->copy();
    const auto crossing = crossingIn(*suffix);
    const size_t before = suffix->inputs().size();
    for (jit::Value* value : crossing) {
      jit::Value* input = suffix->addInput();
      input->setType(value->type());
      value->replaceAllUsesWith(input);
    }
    destroy(*suffix, [](const Statement& statement) { return statement.varies && !statement.hot; });
    // A crossing value that was an input of forward has been replaced by its own input.
    for (size_t i = before; i > 1; --i) suffix->eraseInput(i - 1);
    jit::EliminateDeadCode(suffix);
    return suffix;
  }

  // From the last statement to the first. What still has uses is a container that the other part repeats.
  template <class Goes>
  void destroy(jit::Graph& copy, const Goes& goes) const {
    std::vector<jit::Node*> nodes;
    // Inserted constants aside, a copy has the same statements.
    for (jit::Node* node : copy.nodes()) nodes.push_back(node);
    for (size_t i = nodes.size(); i-- > 0;) {
      if (!goes(statements_[i])) continue;
      const auto outputs = nodes[i]->outputs();
      if (std::none_of(outputs.begin(), outputs.end(), [](const jit::Value* output) { return output->hasUses(); })) nodes[i]->destroy();
    }
  }

  void noteLayers(const Statement& statement, std::vector<std::string>& layers) const {
    for (const jit::Value* value : statement.reads) note(value, layers);
    for (const jit::Block* block : statement.node->blocks()) {
      eachNode(block, [&](const jit::Node* inner) {
        for (const jit::Value* value : inner->inputs()) note(value, layers);
      });
    }
  }
  void note(const jit::Value* value, std::vector<std::string>& layers) const {
    const std::string* path = isTensor(value) ? paths_.of(value) : nullptr;
    if (!path) return;
    const std::string layer = parentOf(*path);
    if (std::find(layers.begin(), layers.end(), layer) == layers.end()) layers.push_back(layer);
  }

  std::shared_ptr<jit::Graph> graph_;
  const jit::Module& module_;
  Paths paths_;
  std::unordered_set<std::string> written_;
  mutable jit::AliasDb aliases_;
  std::vector<Statement> statements_;
  std::unordered_map<const jit::Node*, size_t> owner_;
  std::unordered_set<const jit::Value*> needed_;
  Values crossing_;
  std::string forked_;
};

}  // namespace

std::shared_ptr<jit::Graph> freezeForward(const jit::Module& module) {
  auto graph = inlinedForward(module);
  specialise(graph, module);
  return holdParameters(graph, module) ? graph : nullptr;
}

Split splitForward(const jit::Module& module) {
  auto graph = inlinedForward(module);
  specialise(graph, module);
  return Splitter(graph, module).make();
}

}  // namespace torchgraft
