// What models print.
#pragma once

namespace torchgraft {

// From now on print() in any model of this process writes to standard error: standard output is the program's own.
void sendPrintsToStandardError();

}  // namespace torchgraft
