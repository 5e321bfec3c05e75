// Expectations of likelihoods: a point's nodes in packs, where its likelihood takes them.
#include "core/expectation.hpp"
#include "cpu/arch.hpp"
#include "cpu/pack_math.hpp"

namespace lvm::cpu::LVM_ARCH {

LVM_HD void load_lanes(const double* from, Pack<double>& x) { x = Pack<double>::load(from); }
LVM_HD double sum_lanes(Pack<double> x) { return x.sum(); }

template <class T>
void expectations(const ExpectationsOfPoints<T>& points, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) points.template at<Pack<double>>(i);
}

template void expectations<double>(const ExpectationsOfPoints<double>&, int64_t, int64_t);
template void expectations<float>(const ExpectationsOfPoints<float>&, int64_t, int64_t);

}  // namespace lvm::cpu::LVM_ARCH
