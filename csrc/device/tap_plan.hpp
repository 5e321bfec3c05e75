// Which pixels a pixel of a convolution's result takes, as the kernels of csrc/cpu/network.cpp read it.
#pragma once

#include <cstdint>
#include <numeric>
#include <vector>

#include "cpu/network_tasks.hpp"
#include "device/layer_shape.hpp"

namespace lvm {

class TapPlan {
 public:
  // From the large image to the small one, or back: pixel p of the large image gets tap u of its axis from
  // (p + before - u) / stride where that is whole, so that every tap belongs to one phase of p.
  TapPlan(const LayerShape& s, bool to_small) {
    to_small ? small(s) : large(s);
    for (size_t g = 0; g < groups_.size(); ++g) {
      groups_[g].target = targets_[g].empty() ? nullptr : targets_[g].data();
      groups_[g].source = sources_[g].data();
    }
  }
  TapPlan(const TapPlan&) = delete;
  TapPlan& operator=(const TapPlan&) = delete;

  const std::vector<cpu::TapGroup>& groups() const { return groups_; }
  const int32_t* order() const { return order_.data(); }  // tap of the kernel for tap of the plan

 private:
  void small(const LayerShape& s) {
    order_.resize(s.taps());
    std::iota(order_.begin(), order_.end(), 0);
    std::vector<int32_t> source;
    source.reserve(s.small_pixels() * s.taps());
    for (int64_t i = 0; i < s.small_rows; ++i) {
      for (int64_t j = 0; j < s.small_cols; ++j) {
        for (int64_t u = 0; u < s.rows; ++u) {
          for (int64_t v = 0; v < s.cols; ++v) {
            const int64_t row = i * s.row_stride - s.top + u, col = j * s.col_stride - s.left + v;
            const bool inside = row >= 0 && row < s.large_rows && col >= 0 && col < s.large_cols;
            source.push_back(inside ? static_cast<int32_t>(row * s.large_cols + col) : -1);
          }
        }
      }
    }
    add(s.small_pixels(), s.taps(), {}, std::move(source));
  }
  void large(const LayerShape& s) {
    const bool one = s.row_stride == 1 && s.col_stride == 1;
    for (int64_t phase = 0; phase < s.row_stride * s.col_stride; ++phase) {
      const int64_t row_phase = phase / s.col_stride, col_phase = phase % s.col_stride;
      const size_t first = order_.size();
      for (int64_t tap = 0; tap < s.taps(); ++tap) {
        const int64_t row = row_phase + s.top - tap / s.cols, col = col_phase + s.left - tap % s.cols;
        if (row % s.row_stride == 0 && col % s.col_stride == 0) order_.push_back(static_cast<int32_t>(tap));
      }
      std::vector<int32_t> target, source;
      for (int64_t p = row_phase; p < s.large_rows; p += s.row_stride) {
        for (int64_t q = col_phase; q < s.large_cols; q += s.col_stride) {
          target.push_back(static_cast<int32_t>(p * s.large_cols + q));
          for (size_t t = first; t < order_.size(); ++t) {
            const int64_t row = whole(p + s.top - order_[t] / s.cols, s.row_stride, s.small_rows);
            const int64_t col = whole(q + s.left - order_[t] % s.cols, s.col_stride, s.small_cols);
            source.push_back(row < 0 || col < 0 ? -1 : static_cast<int32_t>(row * s.small_cols + col));
          }
        }
      }
      const int64_t rows = static_cast<int64_t>(target.size()), taps = static_cast<int64_t>(order_.size() - first);
      if (one) target.clear();
      if (rows) add(rows, taps, std::move(target), std::move(source), static_cast<int64_t>(first));
    }
  }
  static int64_t whole(int64_t offset, int64_t stride, int64_t extent) {
    return offset >= 0 && offset % stride == 0 && offset / stride < extent ? offset / stride : -1;
  }
  void add(int64_t rows, int64_t taps, std::vector<int32_t> target, std::vector<int32_t> source, int64_t first = 0) {
    groups_.push_back({rows, taps, first, nullptr, nullptr});
    targets_.push_back(std::move(target));
    sources_.push_back(std::move(source));
  }

  std::vector<cpu::TapGroup> groups_;
  std::vector<std::vector<int32_t>> targets_, sources_;
  std::vector<int32_t> order_;
};

}  // namespace lvm
