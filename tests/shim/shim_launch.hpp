// Launches: the arguments are copied and looked over, and the kernel runs at once or is recorded.
#pragma once

#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "shim_fibers.hpp"
#include "shim_memory.hpp"
#include "shim_runtime.hpp"
#include "shim_types.hpp"

#define LVM_LAUNCH(kernel, grid, block, shared, stream, ...) \
  ::shim::launch(#kernel, kernel, grid, block, shared, stream, ##__VA_ARGS__)

namespace shim {

// Runs the work now, or records it where the stream is being captured; errors go to cudaGetLastError.
cudaError_t enqueue(cudaStream_t stream, std::function<void()> work);

// Checks the configuration as the CUDA runtime does, and enqueues.
void submit(Launch launch, const void* kernel, cudaStream_t stream);

template <class... P, class... A>
void launch(const char* name, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
            A&&... arguments) {
  static_assert(sizeof...(P) == sizeof...(A), "a kernel has no default arguments");
  static_assert((std::is_trivially_copyable<P>::value && ...), "a kernel's arguments are copied byte by byte");
  static_assert((!std::is_reference<P>::value && ...), "a kernel takes its arguments by value");
  static_assert((0 + ... + sizeof(P)) <= 4096, "a kernel's arguments fill 4 KiB at most");
  const std::tuple<P...> copies(std::forward<A>(arguments)...);
  int number = 0;
  std::apply([&](const P&... a) { (check_argument(name, ++number, &a, sizeof(a)), ...); }, copies);
  submit({name, grid, block, shared, [kernel, copies] { std::apply(kernel, copies); }},
         reinterpret_cast<const void*>(kernel), stream);
}

}  // namespace shim
