#include "common/base/signals.h"

#include <cerrno>

#include <signal.h>
#include <unistd.h>

#include "absl/time/clock.h"

namespace base {
namespace {

sigset_t StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

}  // namespace

void BlockStopSignals() {
  const sigset_t signals = StopSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

int WaitForStopSignal(absl::Duration timeout) {
  const sigset_t signals = StopSignals();
  const absl::Time deadline = absl::Now() + timeout;
  while (true) {
    if (timeout == absl::InfiniteDuration()) {
      int signal = 0;
      if (sigwait(&signals, &signal) == 0) return signal;
      continue;
    }
    const absl::Duration rest = deadline - absl::Now();
    if (rest <= absl::ZeroDuration()) return 0;
    const timespec wait = absl::ToTimespec(rest);
    const int signal = sigtimedwait(&signals, nullptr, &wait);
    if (signal > 0) return signal;
    if (errno == EAGAIN) return 0;
  }
}

void RequestStop() { kill(getpid(), SIGTERM); }

}  // namespace base
