// A covariance function as an expression: sums and products over leaves.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/covariance.hpp"

namespace lvm {

struct KernelLeaf {
  Covariance kind;
  std::vector<int64_t> dims;  // columns of the inputs that it sees
  int degree;                 // of a polynomial
  int64_t first;              // of its parameters, in the tree's vector of parameters
  bool operator==(const KernelLeaf& other) const {
    return kind == other.kind && dims == other.dims && degree == other.degree && first == other.first;
  }
};

struct KernelNode {
  enum class Kind { leaf, sum, product } kind;
  int64_t leaf;                // its index, of a leaf
  std::vector<int64_t> parts;  // indices of nodes, of a sum or product
  bool operator==(const KernelNode& other) const {
    return kind == other.kind && leaf == other.leaf && parts == other.parts;
  }
};

// A tree as a program for a machine with a stack, for code that runs on either device: push the value of a leaf, or put
// the sum or product of the two top values in their place.
struct KernelStep {
  enum Op : int32_t { push, add, multiply };
  int32_t op, leaf;
};

// Parts come before what they are part of; the last node is the whole expression.
struct KernelTree {
  std::vector<KernelLeaf> leaves;
  std::vector<KernelNode> nodes;
  int64_t parameters = 0;

  bool operator==(const KernelTree& other) const { return leaves == other.leaves && nodes == other.nodes; }

  static constexpr int64_t kDeepest = 16;  // values on the stack of a program: enough for 2^15 leaves however they nest

  // The value of the tree.
  std::vector<KernelStep> program() const {
    std::vector<KernelStep> steps;
    append(static_cast<int64_t>(nodes.size()) - 1, steps);
    return steps;
  }

  // The derivative of the tree by the value of a leaf: the product of all that stands beside it in products. Empty: 1.
  std::vector<KernelStep> context(int64_t leaf) const {
    std::vector<KernelStep> steps;
    int64_t inside = 0;
    while (nodes[inside].kind != KernelNode::Kind::leaf || nodes[inside].leaf != leaf) ++inside;
    for (int64_t k = inside + 1; k < static_cast<int64_t>(nodes.size()); ++k) {
      const std::vector<int64_t>& parts = nodes[k].parts;
      if (std::find(parts.begin(), parts.end(), inside) == parts.end()) continue;
      for (int64_t part : parts) {
        if (part == inside || nodes[k].kind != KernelNode::Kind::product) continue;
        const bool first = steps.empty();
        append(part, steps);
        if (!first) steps.push_back({KernelStep::multiply, 0});
      }
      inside = k;
    }
    return steps;
  }

  // The most values that a program has on its stack.
  static int64_t depth(const std::vector<KernelStep>& steps) {
    int64_t now = 0, most = 0;
    for (const KernelStep& step : steps) {
      now += step.op == KernelStep::push ? 1 : -1;
      most = std::max(most, now);
    }
    return most;
  }

  // Tiles of scratch that evaluating the node takes, and that its pull-back takes.
  int64_t value_tiles(int64_t node) const {
    const KernelNode& n = nodes[node];
    int64_t most = 0;
    for (int64_t part : n.parts) most = std::max(most, value_tiles(part));
    return n.kind == KernelNode::Kind::leaf ? 0 : most + 1;
  }
  int64_t pullback_tiles(int64_t node) const {
    const KernelNode& n = nodes[node];
    int64_t most = 0;
    for (int64_t part : n.parts) most = std::max({most, value_tiles(part), pullback_tiles(part)});
    if (n.kind == KernelNode::Kind::leaf) return 0;
    return most + 1 + (n.kind == KernelNode::Kind::product ? static_cast<int64_t>(n.parts.size()) : 0);
  }

 private:
  // Values on the stack while a node is computed, the part that needs most first: log2 of the leaves at most, and one.
  int64_t stack(int64_t node) const {
    int64_t most = 0, least = 0;
    for (int64_t part : nodes[node].parts) {
      const int64_t own = stack(part);
      least = std::max(least, std::min(own, most) + (most > 0));
      most = std::max(most, own);
    }
    return std::max({most, least, int64_t(1)});
  }
  void append(int64_t node, std::vector<KernelStep>& steps) const {
    const KernelNode& n = nodes[node];
    if (n.kind == KernelNode::Kind::leaf) return steps.push_back({KernelStep::push, static_cast<int32_t>(n.leaf)});
    std::vector<int64_t> parts = n.parts;
    std::stable_sort(parts.begin(), parts.end(), [&](int64_t a, int64_t b) { return stack(a) > stack(b); });
    for (size_t k = 0; k < parts.size(); ++k) {
      append(parts[k], steps);
      if (k) steps.push_back({n.kind == KernelNode::Kind::sum ? KernelStep::add : KernelStep::multiply, 0});
    }
  }
};

}  // namespace lvm
