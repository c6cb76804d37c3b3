// What a waiting user sees: one line per change, on stderr.

#pragma once

#include <ostream>
#include <string>
#include <string_view>

#include "absl/time/time.h"

#include "kaito/options.h"

namespace kaito {

// On a terminal the current line is rewritten while something runs and kept when it is done;
// without one, each change is a plain line. Silent with --quiet. One thread.
class Progress {
 public:
  Progress(const Options& options, const Environment& environment, std::ostream& err);
  ~Progress();

  // Something runs now. Equal text again does nothing.
  void Doing(std::string_view text);
  // It is done; `text` stays.
  void Done(std::string_view text);
  // A line beside the progress.
  void Note(std::string_view text);

 private:
  void ClearLine();

  std::ostream& err_;
  const bool quiet_;
  const bool terminal_;
  const bool color_;
  const absl::Time begin_;
  std::string current_;
};

// "0.4 s", "12 s", "3 min".
std::string ShortDuration(absl::Duration duration);

}  // namespace kaito
