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
};

struct KernelNode {
  enum class Kind { leaf, sum, product } kind;
  int64_t leaf;                // its index, of a leaf
  std::vector<int64_t> parts;  // indices of nodes, of a sum or product
};

// Parts come before what they are part of; the last node is the whole expression.
struct KernelTree {
  std::vector<KernelLeaf> leaves;
  std::vector<KernelNode> nodes;
  int64_t parameters = 0;

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
};

}  // namespace lvm
