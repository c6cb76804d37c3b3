// One streamed completion over HTTP, timed.

#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace bench {

struct StreamOptions {
  std::string url;    // "http://host:port"
  std::string model;  // Empty: left out of the body.
  std::string prompt;
  int max_tokens = 64;
  absl::Duration timeout = absl::Minutes(5);
};

struct StreamResult {
  absl::Duration first_token;            // From the start of the request.
  std::vector<absl::Duration> arrivals;  // Of each piece of text, from the start of the request.
  int prompt_tokens = 0;
  int completion_tokens = 0;
};

// Blocks until the answer has ended. End-of-text is ignored, so that every server does equal work.
absl::StatusOr<StreamResult> RunStream(const StreamOptions& options);

}  // namespace bench
