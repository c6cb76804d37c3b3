// SIGTERM and SIGINT as something a main function can wait for.

#pragma once

#include "absl/time/time.h"

namespace base {

// Blocks SIGTERM, SIGINT and SIGPIPE for this thread and all threads started later. Call first in
// main(), once.
void BlockStopSignals();

// Blocks until SIGTERM or SIGINT arrives, RequestStop() is called, or `timeout` has passed.
// Returns the signal's number, or 0 at the timeout. Needs BlockStopSignals().
int WaitForStopSignal(absl::Duration timeout = absl::InfiniteDuration());

// Makes WaitForStopSignal() return as if SIGTERM had come. Any thread.
void RequestStop();

}  // namespace base
