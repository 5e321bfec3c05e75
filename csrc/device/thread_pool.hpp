// A small pool of threads for loops whose chunks are independent.
//
// parallel_for(n, f) calls f(chunk) once for every chunk in [0, n), on the caller and on the workers, and
// returns when all are done. Which thread runs a chunk is unspecified, so a loop whose chunks write to
// separate places gives the same bits for any number of threads. A call from inside a chunk, or while
// another thread uses the pool, runs on the calling thread alone. Safe after fork: the child starts anew.
#pragma once

#include <cstdint>

namespace lvm {

class ThreadPool {
 public:
  static ThreadPool& instance();
  int size() const;       // threads that share the work, the caller included
  void resize(int size);  // at least 1; takes effect at the next parallel_for

  template <class F>
  void parallel_for(int64_t chunks, const F& f) {
    run(chunks, [](const void* context, int64_t chunk) { (*static_cast<const F*>(context))(chunk); }, &f);
  }

 private:
  using Function = void (*)(const void*, int64_t);
  void run(int64_t chunks, Function function, const void* context);
  struct State;
  State* state_;
  ThreadPool();
};

template <class F>
void parallel_for(int64_t chunks, const F& f) {
  ThreadPool::instance().parallel_for(chunks, f);
}

}  // namespace lvm
