// Stand-ins for cuBLAS and cuSOLVER.
#pragma once

namespace lvm {

void install_shim_libraries();  // into cuda_libraries(); needs the BLAS that install_blas takes

}  // namespace lvm
