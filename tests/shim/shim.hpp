// The part of CUDA that the kernels use, for a host compiler: kernels run on the host, one fiber per thread.
//
// It is stricter than a GPU where that makes mistakes show: threads and blocks run in a random order, uninitialised
// memory holds NaN, every block of device memory ends at a guard page, and the host cannot touch device memory.
// Pointers to host memory among a kernel's arguments end the process, as do barriers that not all threads reach.
#pragma once

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "shim_types.hpp"

#include "shim_runtime.hpp"

#include "shim_language.hpp"

#include "shim_launch.hpp"
