#include "kaito/progress.h"

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

namespace kaito {

Progress::Progress(const Options& options, const Environment& environment, std::ostream& err)
    : err_(err),
      quiet_(options.quiet),
      terminal_(environment.err_is_terminal),
      color_(environment.color),
      begin_(absl::Now()) {}

Progress::~Progress() { ClearLine(); }

void Progress::ClearLine() {
  if (terminal_ && !current_.empty()) err_ << "\r\x1b[K" << std::flush;
  current_.clear();
}

void Progress::Doing(std::string_view text) {
  if (quiet_ || text == current_) return;
  if (terminal_) {
    err_ << "\r\x1b[K… " << text << std::flush;
  } else {
    err_ << text << "\n" << std::flush;
  }
  current_ = std::string(text);
}

void Progress::Done(std::string_view text) {
  if (quiet_) return;
  ClearLine();
  const std::string took = ShortDuration(absl::Now() - begin_);
  if (terminal_) {
    err_ << (color_ ? "\x1b[32m✓\x1b[0m " : "✓ ") << text << " (" << took << ")\n" << std::flush;
  } else {
    err_ << text << " (" << took << ")\n" << std::flush;
  }
}

void Progress::Note(std::string_view text) {
  if (quiet_) return;
  ClearLine();
  err_ << text << "\n" << std::flush;
}

std::string ShortDuration(absl::Duration duration) {
  const double seconds = absl::ToDoubleSeconds(duration);
  if (seconds < 10) return absl::StrFormat("%.1f s", seconds);
  if (seconds < 120) return absl::StrFormat("%.0f s", seconds);
  if (seconds < 7200) return absl::StrFormat("%.0f min", seconds / 60);
  return absl::StrFormat("%.1f h", seconds / 3600);
}

}  // namespace kaito
