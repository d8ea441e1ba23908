// libtorch's thread team of the calling thread.
#pragma once

namespace torchgraft {

// Sizes the team for work on the calling thread. Each thread that runs torch work has its own team.
void useThreads(int threads);

}  // namespace torchgraft
