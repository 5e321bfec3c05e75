// Rank-m update and downdate of Cholesky factors on the GPU.
//
// One kernel does it all. Rows are taken in tiles of 32, all the tiles of a batch in one list: blocks draw them in
// order, so that a tile only ever waits for tiles that some block has begun, whatever the number of blocks that run.
// A tile's part of U stays in registers while it meets the reflections of the tiles above it, as they are published
// column after column; then it makes and publishes its own. What a tile computes depends on its rows and these
// reflections alone.
#pragma once

#include "cuda/cholesky_update_alone.cuh"
#include "cuda/cholesky_update_reflect.cuh"
#include "cuda/cholesky_update_tile.cuh"
#include "device/cuda_context.hpp"

namespace lvm {

constexpr int64_t kCudaUpdateColumns = 128;  // the most columns of U that one pass takes

namespace cuda_update {

template <class T, class Unit>
__global__ void __launch_bounds__(kWarps* kRows, 1) run_tiles(Task<T> task) {
  LVM_SHARED(shared);
  constexpr int kSlots = kWarps / Unit::kGroup;
  T* const numbers = reinterpret_cast<T*>(shared);
  int* const drawn = reinterpret_cast<int*>(numbers + kSlots * Unit::kShared);
  const int warp = static_cast<int>(threadIdx.x) / kRows, lane = static_cast<int>(threadIdx.x) % kRows;
  const int slot = warp / Unit::kGroup;
  const int64_t items = task.batch * task.tiles;
  for (;;) {
    if (threadIdx.x == 0) *drawn = atomicAdd(task.ticket, 1) + 1;
    if (Unit::kGroup == 1) forget(Unit::ring(numbers, slot), Unit::kPanel, lane);
    __syncthreads();
    const int64_t first = static_cast<int64_t>(*drawn) * kSlots;
    if (first >= items) return;
    if (first + slot < items) Unit(task, first + slot, first, numbers, slot, warp % Unit::kGroup, lane).run();
    __syncthreads();  // before the next ones take over shared memory
  }
}

template <class T, class Unit>
void launch(Task<T> task) {
  const CudaContext& context = cuda_context();
  constexpr int kSlots = kWarps / Unit::kGroup;
  const int64_t items = task.batch * task.tiles, groups = (items + kSlots - 1) / kSlots;
  const int64_t size = task.tiles > 1 ? items * Unit::kPanel : 0;  // a single tile tells nothing
  const CudaBuffer<T> scratch(size + 1);  // of this call, since the next one may be on another stream
  task.panels = scratch.data();
  task.ticket = reinterpret_cast<int*>(scratch.data() + size);
  check_cuda(cudaMemsetAsync(scratch.data(), 0xff, static_cast<size_t>(size + 1) * sizeof(T), context.stream),
             "cudaMemsetAsync");
  const size_t bytes = kSlots * Unit::kShared * sizeof(T) + sizeof(int64_t);
  if (bytes > 48 * 1024) {
    check_cuda(cudaFuncSetAttribute(run_tiles<T, Unit>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(bytes)),
               "cudaFuncSetAttribute");
  }
  // Few blocks a processor: those that wait are in the way of the one that all wait for.
  const int64_t most = static_cast<int64_t>(context.processors) * (task.tiles == 1 ? 16 : Unit::kGroup == 1 ? 4 : 2);
  const unsigned blocks = static_cast<unsigned>(groups < most ? groups : most);
  LVM_LAUNCH((run_tiles<T, Unit>), blocks, kWarps * kRows, bytes, context.stream, task);
  check_launch("cholesky_update");
}

template <class T>
void start(const Task<T>& task) {
  const int64_t m = task.m;
  if (m <= 1) return launch<T, Alone<T>>(task);
  if (m <= 2) return launch<T, Reflect<T, 2, 1>>(task);
  if (m <= 4) return launch<T, Reflect<T, 4, 1>>(task);
  if (m <= 8) return launch<T, Reflect<T, 8, 1>>(task);
  if (m <= 16) return launch<T, Reflect<T, 4, 4>>(task);
  if (m <= 32) return launch<T, Reflect<T, 8, 4>>(task);
  if (m <= 64) return launch<T, Reflect<T, 16, 4>>(task);
  launch<T, Reflect<T, 32, 4>>(task);
}

}  // namespace cuda_update

// Each of a batch: member b at l.data + l_offset[b] and so on, offsets in numbers on the device, or null where all
// members share one place. status, on the device, two numbers a member: code and index of the first column that was
// lost, 0 and -1 if all is well. A member that loses a column leaves its `out` undefined. n >= 1,
// 1 <= m <= kCudaUpdateColumns.
template <class T>
void cuda_cholesky_update_batched(const CudaUpdate<T>& update, int64_t batch, const int64_t* l_offset,
                                  const int64_t* out_offset, const int64_t* u_offset, int64_t* status) {
  if (batch == 0) return;
  const int64_t tiles = (update.n + cuda_update::kRows - 1) / cuda_update::kRows;
  const Factor<const T>& l = update.l;
  const Strided<const T>& u = update.u;
  cuda_update::start<T>({update.n, update.m, update.plus, l.data, l.stride, update.out.data, update.out.stride, u.data,
                         u.row, u.col, update.order, l.by_rows, update.clear_upper, batch, tiles, l_offset, out_offset,
                         u_offset, status, nullptr, nullptr});
}

template <class T>
void cuda_cholesky_update(const CudaUpdate<T>& update, int64_t* status) {
  cuda_cholesky_update_batched<T>(update, 1, nullptr, nullptr, nullptr, status);
}

}  // namespace lvm
