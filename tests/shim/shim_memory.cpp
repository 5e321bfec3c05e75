#include "shim_memory.hpp"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <vector>

namespace shim {
namespace {

constexpr size_t kArenaBytes = size_t(64) << 30;
constexpr size_t kSpread = size_t(64) << 20;
constexpr unsigned char kFresh = 0xFF;  // NaN in every real type, -1 in every integer

struct Block {
  size_t bytes;       // as asked for
  char *begin, *end;  // of the pages (without sanitizer: the guard page begins at the end)
};

struct Arena {
  char* base = nullptr;
  char* cursor = nullptr;  // the next block goes here: addresses are not used again soon, so that stale pointers fault
  int file = -1;
  int opens = 0;
  size_t live = 0, limit = size_t(8) << 30;
  std::map<char*, Block> blocks;
};

Arena& arena() {
  static Arena* it = new Arena;  // never destroyed: arrays may die after the module's own statics
  return *it;
}

size_t page() {
  static const size_t bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

[[maybe_unused]] void must(bool ok, const char* what) {
  if (!ok) fail("%s: %s", what, strerror(errno));
}

#if !defined(LVM_SHIM_MALLOC)

#if !defined(MADV_GUARD_INSTALL)
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif

// Where nothing lives, touching the arena faults whatever its protection, so that one mprotect over everything opens
// the blocks and leaves the guards shut. Linux has guard pages for that since 6.13. Elsewhere the arena is a shared
// mapping of an empty file with anonymous pages for the blocks on top: as strict, but slower with many blocks.
void make_hole(char* at, size_t bytes) {
  Arena& a = arena();
  if (a.file < 0) {
    must(madvise(at, bytes, MADV_GUARD_INSTALL) == 0, "guard pages");
    return;
  }
  void* got = mmap(at, bytes, PROT_NONE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, a.file, at - a.base);
  must(got != MAP_FAILED, "guard pages");
  if (a.opens) must(mprotect(at, bytes, PROT_READ | PROT_WRITE) == 0, "mprotect");
}

bool make_live(char* at, size_t bytes) {  // readable and writable
  if (arena().file >= 0) {
    return mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED;
  }
  return madvise(at, bytes, MADV_GUARD_REMOVE) == 0 && mprotect(at, bytes, PROT_READ | PROT_WRITE) == 0;
}

void reserve() {
  Arena& a = arena();
  void* got = mmap(nullptr, kArenaBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  must(got != MAP_FAILED, "reserving device memory");
  a.base = a.cursor = static_cast<char*>(got);
  if (madvise(a.base, page(), MADV_GUARD_INSTALL) == 0) return;
  FILE* file = tmpfile();
  must(file, "an empty file for guard pages");
  a.file = fileno(file);
  make_hole(a.base, kArenaBytes);
}

// The first gap of that many pages at or after the cursor, once around: where all is passed or the used addresses
// spread so far that opening and closing them would take long.
char* find_gap(size_t bytes) {
  Arena& a = arena();
  if (a.cursor > a.base + std::max(kSpread, 4 * a.live)) a.cursor = a.base;
  for (int round = 0; round < 2; ++round, a.cursor = a.base) {
    char* at = a.cursor;
    auto next = a.blocks.lower_bound(at);
    if (next != a.blocks.begin()) at = std::max(at, std::prev(next)->second.end + page());
    for (; next != a.blocks.end() && at + bytes + page() > next->second.begin; ++next) {
      at = next->second.end + page();
    }
    if (at + bytes + page() <= a.base + kArenaBytes) return at;
  }
  return nullptr;
}

void protect(int protection) {
  Arena& a = arena();
  if (a.blocks.empty()) return;
  char* begin = a.blocks.begin()->second.begin;
  must(mprotect(begin, static_cast<size_t>(a.blocks.rbegin()->second.end - begin), protection) == 0, "mprotect");
}

bool untouched(const char* begin, const char* end) {
  return std::all_of(begin, end, [](char c) { return static_cast<unsigned char>(c) == kFresh; });
}

void check_margin(const char* pointer, const Block& block) {
  if (!untouched(block.begin, pointer)) fail("bytes before the device memory at %p were written", pointer);
  if (!untouched(pointer + block.bytes, block.end)) fail("bytes behind the device memory at %p were written", pointer);
}

#endif

}  // namespace

void fail(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("CUDA shim: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  fflush(stderr);
  va_end(arguments);
  abort();
}

std::recursive_mutex& mutex() {
  static std::recursive_mutex* it = new std::recursive_mutex;
  return *it;
}

#if defined(LVM_SHIM_MALLOC)

void* device_malloc(size_t bytes) {
  const std::lock_guard<std::recursive_mutex> lock(mutex());
  Arena& a = arena();
  if (bytes > a.limit - std::min(a.limit, a.live)) return nullptr;
  void* pointer = nullptr;
  if (posix_memalign(&pointer, 16, std::max<size_t>(bytes, 1))) return nullptr;
  memset(pointer, kFresh, bytes);
  a.live += bytes;
  char* at = static_cast<char*>(pointer);
  a.blocks[at] = {bytes, at, at + bytes};
  return pointer;
}

bool device_free(void* pointer) {
  const std::lock_guard<std::recursive_mutex> lock(mutex());
  Arena& a = arena();
  const auto it = a.blocks.find(static_cast<char*>(pointer));
  if (it == a.blocks.end()) return false;
  a.live -= it->second.bytes;
  a.blocks.erase(it);
  free(pointer);
  return true;
}

bool in_arena(const void* pointer) { return is_device(pointer); }
void check_margins() {}
void check_argument(const char*, int, const void*, size_t) {}
void open_arena() {}
void close_arena() {}

#else

void* device_malloc(size_t bytes) {
  const std::lock_guard<std::recursive_mutex> lock(mutex());
  Arena& a = arena();
  if (!a.base) reserve();
  if (bytes > a.limit - std::min(a.limit, a.live)) return nullptr;
  const size_t padded = std::max<size_t>(round_up(bytes, 16), 16), pages = round_up(padded, page());
  char* at = find_gap(pages);
  if (!at) return nullptr;
  if (a.file < 0) make_hole(at + pages, page());
  if (!make_live(at, pages)) return nullptr;
  memset(at, kFresh, pages);
  if (!a.opens) must(mprotect(at, pages, PROT_NONE) == 0, "mprotect");
  char* pointer = at + pages - padded;
  a.blocks[pointer] = {bytes, at, at + pages};
  a.cursor = at + pages + page();
  a.live += bytes;
  return pointer;
}

bool device_free(void* pointer) {
  const std::lock_guard<std::recursive_mutex> lock(mutex());
  Arena& a = arena();
  const auto it = a.blocks.find(static_cast<char*>(pointer));
  if (it == a.blocks.end()) return false;
  const Block block = it->second;
  if (!a.opens) must(mprotect(block.begin, static_cast<size_t>(block.end - block.begin), PROT_READ) == 0, "mprotect");
  check_margin(it->first, block);
  a.blocks.erase(it);
  a.live -= block.bytes;
  make_hole(block.begin, static_cast<size_t>(block.end - block.begin));
  return true;
}

bool in_arena(const void* pointer) {
  const char* at = static_cast<const char*>(pointer);
  return arena().base && at >= arena().base && at < arena().base + kArenaBytes;
}

void check_margins() {
  const std::lock_guard<std::recursive_mutex> lock(mutex());
  const Open open;
  for (const auto& [pointer, block] : arena().blocks) check_margin(pointer, block);
}

// Numbers can look like addresses (two ints side by side), hence the question whether anything is mapped there.
bool is_host(uintptr_t word) {
  bool candidate = word >= 0x500000000000u && word < 0x800000000000u;
#if defined(__linux__)  // the heap of a program that is not position-independent lies low
  candidate |= word >= (size_t(16) << 20) && word % 4 == 0 && word < reinterpret_cast<uintptr_t>(sbrk(0));
#endif
  if (!candidate || in_arena(reinterpret_cast<void*>(word))) return false;
  unsigned char resident;
  return mincore(reinterpret_cast<void*>(word / page() * page()), 1, &resident) == 0;
}

void check_argument(const char* kernel, int number, const void* argument, size_t bytes) {
  for (size_t i = 0; i + sizeof(uintptr_t) <= bytes; i += sizeof(uintptr_t)) {
    uintptr_t word;
    memcpy(&word, static_cast<const char*>(argument) + i, sizeof(word));
    if (!is_host(word)) continue;
    fail("kernel %s: argument %d holds a pointer to host memory (%p, byte %zu of the argument)", kernel, number,
         reinterpret_cast<void*>(word), i);
  }
}

void open_arena() {
  const std::lock_guard<std::recursive_mutex> lock(mutex());
  if (arena().opens++ == 0) protect(PROT_READ | PROT_WRITE);
}

void close_arena() {
  const std::lock_guard<std::recursive_mutex> lock(mutex());
  if (--arena().opens == 0) protect(PROT_NONE);
}

#endif

bool is_device(const void* pointer) {
  const std::lock_guard<std::recursive_mutex> lock(mutex());
  char* at = static_cast<char*>(const_cast<void*>(pointer));
  auto it = arena().blocks.upper_bound(at);
  if (it == arena().blocks.begin()) return false;
  --it;
  return at <= it->first + it->second.bytes;
}

size_t live_bytes() { return arena().live; }
size_t limit_bytes() { return arena().limit; }
void set_limit(size_t bytes) { arena().limit = bytes; }

void check_device(const void* pointer, size_t bytes, const char* what) {
  if (!bytes) return;
  const char* at = static_cast<const char*>(pointer);
  const std::lock_guard<std::recursive_mutex> lock(mutex());
  auto it = arena().blocks.upper_bound(const_cast<char*>(at));
  if (it == arena().blocks.begin() || at >= std::prev(it)->first + std::max<size_t>(std::prev(it)->second.bytes, 1)) {
    fail("%s: %p is not device memory%s", what, pointer, in_arena(pointer) ? " any more" : "");
  }
  --it;
  if (at + bytes > it->first + it->second.bytes) {
    fail("%s: %zu bytes from %p run past the device memory of %zu bytes at %p", what, bytes, pointer,
         it->second.bytes, it->first);
  }
}

void check_host(const void* pointer, size_t bytes, const char* what) {
  if (bytes && in_arena(pointer)) fail("%s: %p is device memory, not host memory", what, pointer);
}

}  // namespace shim
