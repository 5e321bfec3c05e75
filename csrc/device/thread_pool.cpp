#include "device/thread_pool.hpp"

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "device/pause.hpp"

namespace lvm {
namespace {

thread_local bool inside_chunk = false;

}  // namespace

// One job at a time. `ticket` packs (job number, chunks not yet claimed); a chunk is claimed by lowering it
// with compare-exchange. Whoever holds a claimed, unfinished chunk may read function/context/total: the
// next job is only published once every chunk of this one is done.
struct ThreadPool::State {
  std::atomic<int> size{1};
  std::mutex submit;  // one caller at a time
  std::mutex mutex;
  std::condition_variable wake;
  int workers = 0;  // guarded by submit

  std::atomic<uint64_t> ticket{0};
  std::atomic<int64_t> done{0};
  Function function = nullptr;
  const void* context = nullptr;
  int64_t total = 0;
  std::mutex error_mutex;
  std::exception_ptr error;  // the first that a chunk of this job threw

  static constexpr uint64_t kRemaining = 0xffffffffu;

  void work() {
    uint64_t seen = ticket.load(std::memory_order_acquire);
    for (;;) {
      const uint64_t remaining = seen & kRemaining;
      if (remaining == 0) return;
      if (!ticket.compare_exchange_weak(seen, seen - 1, std::memory_order_acq_rel)) continue;
      try {
        function(context, total - static_cast<int64_t>(remaining));
      } catch (...) {
        std::lock_guard<std::mutex> lock(error_mutex);
        if (!error) error = std::current_exception();
      }
      done.fetch_add(1, std::memory_order_release);
      seen = ticket.load(std::memory_order_acquire);
    }
  }

  void worker_loop(int rank) {
    inside_chunk = true;
    for (;;) {
      for (int spin = 0; spin < 4000; ++spin) {
        if (ticket.load(std::memory_order_relaxed) & kRemaining) break;
        pause_cpu();
      }
      if ((ticket.load(std::memory_order_relaxed) & kRemaining) == 0 || rank >= size.load()) {
        std::unique_lock<std::mutex> lock(mutex);
        wake.wait(lock, [&] {
          return (ticket.load(std::memory_order_relaxed) & kRemaining) != 0 && rank < size.load();
        });
      }
      work();
    }
  }
};

ThreadPool::ThreadPool() : state_(new State) {}

// Never destroyed: workers may still wait on it while the process exits.
ThreadPool& ThreadPool::instance() {
  static ThreadPool* pool = [] {
    static ThreadPool created;
    pthread_atfork(nullptr, nullptr, [] {
      const int size = created.state_->size.load();
      created.state_ = new State;  // the parent's workers do not exist here
      created.state_->size = size;
    });
    return &created;
  }();
  return *pool;
}

int ThreadPool::size() const { return state_->size.load(); }

void ThreadPool::resize(int size) { state_->size.store(size < 1 ? 1 : size); }

void ThreadPool::run(int64_t chunks, Function function, const void* context) {
  State& s = *state_;
  const int size = s.size.load();
  const bool alone = size == 1 || chunks <= 1 || inside_chunk || !s.submit.try_lock();
  if (alone) {
    for (int64_t i = 0; i < chunks; ++i) function(context, i);
    return;
  }
  std::lock_guard<std::mutex> hold(s.submit, std::adopt_lock);
  for (; s.workers < size - 1; ++s.workers) {
    const int rank = s.workers + 1;
    std::thread([&s, rank] { s.worker_loop(rank); }).detach();
  }
  s.function = function;
  s.context = context;
  s.total = chunks;
  s.done.store(0, std::memory_order_relaxed);
  {
    std::lock_guard<std::mutex> lock(s.mutex);
    const uint64_t job = (s.ticket.load(std::memory_order_relaxed) >> 32) + 1;
    s.ticket.store((job << 32) | static_cast<uint64_t>(chunks), std::memory_order_release);
  }
  s.wake.notify_all();
  inside_chunk = true;
  s.work();
  inside_chunk = false;
  for (int spin = 0; s.done.load(std::memory_order_acquire) != chunks; ++spin) {
    if (spin < 2000) {
      pause_cpu();
    } else {
      std::this_thread::yield();
    }
  }
  std::exception_ptr error;
  std::swap(error, s.error);  // no chunk is left that could write to it
  if (error) std::rethrow_exception(error);
}

}  // namespace lvm
