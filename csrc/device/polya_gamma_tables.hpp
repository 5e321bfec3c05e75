// The tables of the Polya-gamma draws on the host, computed at their first use (about 10 ms).
#pragma once

#include "core/polya_gamma_tables.hpp"

namespace lvm {

const PolyaGammaTables& polya_gamma_tables();

}  // namespace lvm
