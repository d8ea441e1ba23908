#include "model_prints.h"

#include <torch/csrc/jit/runtime/print_handler.h>

#include <cerrno>
#include <string>

#ifdef _WIN32
#include <cstdio>
#else
#include <poll.h>
#include <unistd.h>
#endif

namespace torchgraft {

namespace {

#ifdef _WIN32
void writeToStandardError(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stderr); }
#else
// Node makes pipes non-blocking. Text that nobody reads any more is dropped.
void writeToStandardError(const std::string& text) {
  for (size_t done = 0; done < text.size();) {
    const ssize_t written = ::write(STDERR_FILENO, text.data() + done, text.size() - done);
    if (written >= 0) {
      done += static_cast<size_t>(written);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      pollfd ready{STDERR_FILENO, POLLOUT, 0};
      ::poll(&ready, 1, -1);
    } else if (errno != EINTR) {
      return;
    }
  }
}
#endif

}  // namespace

void sendPrintsToStandardError() { torch::jit::setPrintHandler(writeToStandardError); }

}  // namespace torchgraft
