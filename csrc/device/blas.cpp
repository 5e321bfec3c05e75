#include "device/blas.hpp"

namespace lvm {

template <>
BlasFunctions<double>& blas<double>() {
  static BlasFunctions<double> table{};
  return table;
}

template <>
BlasFunctions<float>& blas<float>() {
  static BlasFunctions<float> table{};
  return table;
}

}  // namespace lvm
