#include "script.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <vector>

#include "findings.h"
#include "limits.h"

namespace torchgraft::archive {

namespace {

enum class TokenKind { end, name, literal, text, symbol, newline };

struct Token {
  TokenKind kind = TokenKind::end;
  std::string_view text;
  // Of a newline: by how many blanks the next line is indented.
  size_t indent = 0;
};

bool beginsName(char c) { return std::isalpha(static_cast<unsigned char>(c)) || c == '_'; }
bool continuesName(char c) { return beginsName(c) || std::isdigit(static_cast<unsigned char>(c)); }

// Cuts source text as libtorch's lexer does. Within brackets lines do not end.
class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  Token next() {
    while (at_ < source_.size()) {
      const char c = source_[at_];
      if (c == '\n') {
        const Token line = readNewline();
        if (nesting_ == 0) return line;
      } else if (c == '#') {
        at_ = std::min(source_.find('\n', at_), source_.size());
      } else if (c == '\\' && at_ + 1 < source_.size() && source_[at_ + 1] == '\n') {
        at_ += 2;
      } else if (std::isspace(static_cast<unsigned char>(c))) {
        ++at_;
      } else {
        return readToken(c);
      }
    }
    return {};
  }

 private:
  // Blank lines and those of comments alone are passed over: they do not end a block.
  Token readNewline() {
    size_t begin = at_ + 1, end = begin;
    while (true) {
      while (end < source_.size() && (source_[end] == ' ' || source_[end] == '\t' || source_[end] == '\r')) ++end;
      if (end < source_.size() && source_[end] == '#') end = std::min(source_.find('\n', end), source_.size());
      if (end >= source_.size() || source_[end] != '\n') break;
      begin = ++end;
    }
    at_ = end;
    return {TokenKind::newline, {}, end - begin};
  }

  Token readToken(char c) {
    const size_t begin = at_;
    if (beginsName(c)) {
      while (at_ < source_.size() && continuesName(source_[at_])) ++at_;
      return {TokenKind::name, source_.substr(begin, at_ - begin), 0};
    }
    if (std::isdigit(static_cast<unsigned char>(c))) {
      while (at_ < source_.size() && (continuesName(source_[at_]) || source_[at_] == '.')) ++at_;
      return {TokenKind::literal, source_.substr(begin, at_ - begin), 0};
    }
    if (c == '"' || c == '\'') return readText(c);
    ++at_;
    if (c == '(' || c == '[' || c == '{') ++nesting_;
    if ((c == ')' || c == ']' || c == '}') && nesting_ > 0) --nesting_;
    return {TokenKind::symbol, source_.substr(begin, 1), 0};
  }

  Token readText(char quote) {
    const std::array<char, 3> three{quote, quote, quote};
    const std::string_view triple(three.data(), 3);
    const bool isTriple = source_.compare(at_, 3, triple) == 0;
    const size_t begin = at_ += isTriple ? 3 : 1;
    while (at_ < source_.size()) {
      if (source_[at_] == '\\') {
        at_ += 2;
      } else if (isTriple ? source_.compare(at_, 3, triple) == 0 : source_[at_] == quote) {
        break;
      } else {
        ++at_;
      }
    }
    const size_t end = std::min(at_, source_.size());
    at_ = std::min(end + (isTriple ? 3 : 1), source_.size());
    return {TokenKind::text, source_.substr(begin, end - begin), 0};
  }

  std::string_view source_;
  size_t at_ = 0;
  size_t nesting_ = 0;
};

// How deep an expression can be as a tree: brackets lie in each other, and whatever stands between two commas may, as
// `a + b + c` and `not not a` do. So the depth is no more than the tokens since the last comma, in all open brackets.
class ExpressionDepth {
 public:
  void add(const Token& token) {
    if (token.kind == TokenKind::newline) {
      levels_.assign(1, 0);
      depth_ = 0;
      return;
    }
    if (token.kind == TokenKind::symbol && token.text == ",") {
      depth_ -= levels_.back();
      levels_.back() = 0;
      return;
    }
    ++levels_.back();
    if (++depth_ > kExpressionDepth) {
      throw Unfit("has code in which expressions lie in each other over " + std::to_string(kExpressionDepth) + " deep. No network is written so, and it is not opened.");
    }
    if (token.kind != TokenKind::symbol) return;
    const char c = token.text[0];
    if (c == '(' || c == '[' || c == '{') levels_.push_back(0);
    if ((c == ')' || c == ']' || c == '}') && levels_.size() > 1) {
      depth_ -= levels_.back();
      levels_.pop_back();
    }
  }

 private:
  std::vector<uint32_t> levels_{0};
  uint32_t depth_ = 0;
};

// Blocks in blocks; `elif` is an `if` within an `else`.
class BlockDepth {
 public:
  void beginLine(size_t indent) {
    while (blocks_.size() > 1 && blocks_.back().indent > indent) blocks_.pop_back();
    if (indent > blocks_.back().indent) blocks_.push_back({indent, 0});
  }
  void beginStatement(std::string_view word) {
    if (word == "elif") ++blocks_.back().chained;
    else if (word != "else") blocks_.back().chained = 0;
    size_t depth = blocks_.size();
    for (const Block& block : blocks_) depth += block.chained;
    if (depth > kBlockDepth) {
      throw Unfit("has code in which blocks lie in each other over " + std::to_string(kBlockDepth) + " deep. No network is written so, and it is not opened.");
    }
  }

 private:
  struct Block {
    size_t indent = 0;
    size_t chained = 0;
  };
  std::vector<Block> blocks_{{}};
};

// Operators of PyTorch alone: what else libtorch has by a name are collectives, profilers and raw memory.
bool isOfNetworks(std::string_view space) {
  for (const auto known : {"aten", "prim", "prims", "quantized", "_quantized", "quantization", "sparse", "mkldnn", "mkldnn_prepacked",
                           "mkl", "onednn", "prepacked", "torchvision"}) {
    if (space == known) return true;
  }
  return false;
}

bool isPackedWeights(std::string_view name) {
  for (const auto known : {"quantized.", "sparse.", "rnn.", "mkldnn.", "xnnpack."}) {
    if (name.compare(0, std::string_view(known).size(), known) == 0) return true;
  }
  return false;
}

// Collects names from the last few tokens.
class Names {
 public:
  explicit Names(ScriptFacts& facts) : facts_(facts) {}

  void add(const Token& token) {
    if (token.kind == TokenKind::name) readName(token.text);
    if (token.kind == TokenKind::text) readText(token.text);
    const bool isPath = token.kind == TokenKind::name || (token.kind == TokenKind::symbol && token.text == ".");
    if (!isPath) endPath();
    else if (token.kind == TokenKind::name) continuePath(token.text);
    else endsInDot_ = true;
    previous_ = token.kind == TokenKind::text ? std::string_view("\"") : token.text;
    if (token.kind == TokenKind::name && token.text == "getattr") namesByText_ = true;
    if (token.kind == TokenKind::newline) namesByText_ = false;
  }
  void end() { endPath(); }

 private:
  void readName(std::string_view name) {
    if (previous_ == "class") class_ = std::string(name);
    if (previous_ == "def" && name == "__setstate__") facts_.restoring.insert(class_);
    if (previous_ == ".") note(name);
    if (name == "rpc_async" || name == "rpc_sync" || name == "rpc_remote") facts_.reaching.insert("prim::" + std::string(name));
  }

  // An operator may also be called as a method of its first argument: `"name".from_file(True)`.
  void note(std::string_view name) {
    if (name == "save" || name == "from_file") facts_.reaching.insert("aten::" + std::string(name));
  }

  // getattr(torch, "save") names an operator too. PyTorch writes no escapes there, and no parts.
  void readText(std::string_view text) {
    if (!namesByText_) return;
    note(text);
    if (text.find('\\') != std::string_view::npos || previous_ == "\"") facts_.reaching.insert("a name that is hidden from this check");
  }

  void continuePath(std::string_view name) {
    if (!endsInDot_) endPath();
    path_.push_back(name);
    endsInDot_ = false;
  }

  void endPath() {
    const size_t count = path_.size();
    endsInDot_ = false;
    if (count >= 2 && path_[0] == "torch") facts_.operators.insert("aten::" + std::string(path_[1]));
    if (count >= 3 && path_[0] == "ops") {
      const std::string name = std::string(path_[1]) + "::" + std::string(path_[2]);
      facts_.operators.insert(name);
      if (!isOfNetworks(path_[1])) facts_.reaching.insert(name);
      note(path_[2]);
    }
    if (count >= 5 && path_[0] == "__torch__" && path_[1] == "torch" && path_[2] == "classes") {
      const std::string name = std::string(path_[3]) + "." + std::string(path_[4]);
      facts_.nativeClasses.insert(name);
      if (!isPackedWeights(name)) facts_.reaching.insert("the class " + name);
    }
    path_.clear();
  }

  ScriptFacts& facts_;
  std::vector<std::string_view> path_;
  bool endsInDot_ = false;
  std::string_view previous_;
  std::string class_;
  bool namesByText_ = false;
};

}  // namespace

void checkScript(std::string_view source, ScriptFacts* facts) {
  Lexer lexer(source);
  ExpressionDepth expressions;
  BlockDepth blocks;
  ScriptFacts unused;
  Names names(facts ? *facts : unused);
  bool beginsLine = true;
  for (Token token = lexer.next(); token.kind != TokenKind::end; token = lexer.next()) {
    expressions.add(token);
    if (token.kind == TokenKind::newline) {
      blocks.beginLine(token.indent);
      beginsLine = true;
    } else if (beginsLine) {
      blocks.beginStatement(token.text);
      beginsLine = false;
    }
    if (facts) names.add(token);
  }
  if (facts) names.end();
}

void checkType(std::string_view type) {
  if (type.size() > kNameBytes * 16) throw Unfit("names a type of " + std::to_string(type.size()) + " letters. It is not opened.");
  checkScript(type);
}

}  // namespace torchgraft::archive
