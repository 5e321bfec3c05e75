// Objects that own scratch memory, shared between Python threads.
#pragma once

#include <mutex>
#include <utility>

namespace lvm::bind {

// One call at a time: the object owns scratch memory, and the GIL is released while it works.
template <class Object>
struct Guarded {
  Object object;
  std::mutex mutex;
  template <class... A>
  explicit Guarded(A&&... arguments) : object(std::forward<A>(arguments)...) {}
};

}  // namespace lvm::bind
