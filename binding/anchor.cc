#include "anchor.h"

#include "failure.h"

namespace torchgraft {

Anchor::Anchor(const Model& model, const Source& source, const AnchorOptions& options, const std::unordered_set<std::string>& fresh,
               const std::unordered_map<std::string, int64_t>& rows) {
  if (options.kind == AnchorOptions::ewc && source.samples() == 0) {
    throw Failure("INVALID_VALUE", "configure: ewc needs the source's Fisher information. Call addFisher() first.");
  }
  const bool isEwc = options.kind == AnchorOptions::ewc;
  for (const auto& [name, tensor] : model.parameters()) {
    if (!tensor.is_floating_point()) continue;
    const auto part = rows.find(name);
    Term term{tensor, {}, {}, options.beta, part == rows.end() ? -1 : part->second};
    const at::Tensor meant = term.rows < 0 ? tensor.detach() : tensor.detach().narrow(0, 0, term.rows);
    const at::Tensor anchor = fresh.count(name) ? at::Tensor() : source.like(name, meant);
    if (anchor.defined()) {
      term.anchor = anchor;
      term.strength = isEwc ? options.lambda : options.alpha;
      if (isEwc) term.importance = source.fisher(name);
      // Nothing that the source says depends on it.
      if (isEwc && !term.importance.defined()) continue;
    } else if (isEwc) {
      continue;
    }
    if (term.strength > 0) terms_.push_back(term);
  }
}

double Anchor::pull() const {
  at::NoGradGuard guard;
  at::Tensor total;
  for (const Term& term : terms_) {
    at::Tensor gradient = term.parameter.grad();
    if (!gradient.defined()) continue;
    at::Tensor distance = term.parameter.detach();
    if (term.rows >= 0) {
      gradient = gradient.narrow(0, 0, term.rows);
      distance = distance.narrow(0, 0, term.rows);
    }
    if (term.anchor.defined()) distance = distance - term.anchor;
    const at::Tensor slope = term.importance.defined() ? distance * term.importance : distance;
    gradient.add_(slope, term.strength);
    const at::Tensor penalty = (slope * distance).sum(at::kDouble) * (term.strength / 2);
    total = total.defined() ? total + penalty : penalty;
  }
  return total.defined() ? total.item<double>() : 0;
}

}  // namespace torchgraft
