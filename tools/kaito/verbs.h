// The verbs. Each returns OK, or a Status whose code says how the process ends (ExitCode()).

#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"

#include "kaito/options.h"

namespace kaito {

absl::Status Up(const Options& options, const Environment& environment, const Streams& streams);
absl::Status Down(const Options& options, const Environment& environment, const Streams& streams);
absl::Status ShowStatus(const Options& options, const Environment& environment,
                        const Streams& streams);
absl::Status Chat(const std::string& workspace, const Options& options,
                  const Environment& environment, const Streams& streams);
absl::Status Logs(const std::string& target, const Options& options, const Environment& environment,
                  const Streams& streams);
absl::Status Why(const std::string& workspace, const Options& options,
                 const Environment& environment, const Streams& streams);
absl::Status Run(const std::string& model, const Options& options, const Environment& environment,
                 const Streams& streams);

// kNotFound 3, kFailedPrecondition 4, kUnavailable, kDeadlineExceeded and kUnauthenticated 5,
// kCancelled 130, anything else 1.
int ExitCode(const absl::Status& status);

}  // namespace kaito
