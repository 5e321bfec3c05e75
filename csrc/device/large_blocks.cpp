#include "device/large_blocks.hpp"

#include <pthread.h>

#include <cstdlib>
#include <mutex>
#include <new>
#include <unordered_map>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace lvm {
namespace {

struct Block {
  void* data;
  size_t bytes;
};

struct State {
  std::mutex mutex;
  std::vector<Block> waiting;  // the longest-waiting one first
  std::unordered_map<void*, size_t> lent;
  size_t kept = 0;
};

State& state() {
  static State* created = [] {
    static State* s = new State;  // arrays may outlive every static object
    // A fork waits until no thread is inside, so that the child finds the lists whole and the mutex free.
    pthread_atfork([] { s->mutex.lock(); }, [] { s->mutex.unlock(); }, [] { s->mutex.unlock(); });
    return s;
  }();
  return *created;
}

size_t drop_oldest(State& s) {
  const Block block = s.waiting.front();
  s.waiting.erase(s.waiting.begin());
  s.kept -= block.bytes;
  std::free(block.data);
  return block.bytes;
}

}  // namespace

void* LargeBlocks::take(size_t bytes) {
  constexpr size_t kPage = size_t(1) << 21;
  bytes = (bytes + kPage - 1) / kPage * kPage;
  State& s = state();
  {
    std::lock_guard<std::mutex> hold(s.mutex);
    for (size_t i = s.waiting.size(); i-- > 0;) {
      if (s.waiting[i].bytes != bytes) continue;
      void* data = s.waiting[i].data;
      s.lent.emplace(data, bytes);
      s.waiting.erase(s.waiting.begin() + static_cast<std::ptrdiff_t>(i));
      s.kept -= bytes;
      return data;
    }
  }
  void* data = std::aligned_alloc(kPage, bytes);
  if (!data && release() > 0) data = std::aligned_alloc(kPage, bytes);
  if (!data) throw std::bad_alloc();
#if defined(__linux__)
  madvise(data, bytes, MADV_HUGEPAGE);
#endif
  std::lock_guard<std::mutex> hold(s.mutex);
  s.lent.emplace(data, bytes);
  return data;
}

void LargeBlocks::give_back(void* data) noexcept {
  State& s = state();
  std::lock_guard<std::mutex> hold(s.mutex);
  const auto entry = s.lent.find(data);
  const size_t bytes = entry->second;
  s.lent.erase(entry);
  if (bytes > kMostKept) {
    std::free(data);
    return;
  }
  while (s.kept + bytes > kMostKept) drop_oldest(s);
  s.waiting.push_back({data, bytes});
  s.kept += bytes;
}

size_t LargeBlocks::release() noexcept {
  State& s = state();
  std::lock_guard<std::mutex> hold(s.mutex);
  size_t freed = 0;
  while (!s.waiting.empty()) freed += drop_oldest(s);
  return freed;
}

}  // namespace lvm
