#include "memory.h"

#include <cstdlib>

#ifdef __GLIBC__
#include <malloc.h>

#include <climits>
#endif

namespace torchgraft {

void keepFreedMemory() {
#ifdef __GLIBC__
  // Who tunes malloc through its environment variables keeps their choice.
  if (std::getenv("MALLOC_MMAP_THRESHOLD_") || std::getenv("MALLOC_MMAP_MAX_") || std::getenv("GLIBC_TUNABLES")) return;
  // Other arenas than the main one are made of heaps of 64 MB, mapped and unmapped as they fill and empty.
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
  mallopt(M_TOP_PAD, 64 << 20);
#endif
}

void returnFreedMemory() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

}  // namespace torchgraft
