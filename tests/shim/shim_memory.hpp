// Device memory: an arena that is closed to the host except while a kernel, a copy or a library call runs.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <mutex>

namespace shim {

// Prints the message and aborts: mistakes that a GPU would answer with garbage, or never.
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

std::recursive_mutex& mutex();  // held by whatever uses the arena or runs kernels

void* device_malloc(size_t bytes);       // null when it does not fit the limit; filled with 0xFF
bool device_free(void* pointer);         // false when the pointer is not a live block's start
bool is_device(const void* pointer);     // inside a live block of device memory, or at its end
bool in_arena(const void* pointer);      // inside the arena, live or not
size_t live_bytes();
size_t limit_bytes();
void set_limit(size_t bytes);
void check_margins();                    // fails if bytes before a live block or behind its end were written

// Fails unless all bytes are in one live block of device memory, or, for the host, outside the arena.
void check_device(const void* pointer, size_t bytes, const char* what);
void check_host(const void* pointer, size_t bytes, const char* what);

// Fails if the bytes of a kernel's argument hold what is a pointer to host memory.
void check_argument(const char* kernel, int number, const void* argument, size_t bytes);

void open_arena();  // calls nest
void close_arena();

struct Open {
  Open() { open_arena(); }
  ~Open() { close_arena(); }
  Open(const Open&) = delete;
  Open& operator=(const Open&) = delete;
};

}  // namespace shim
