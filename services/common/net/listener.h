// A listening socket, with errors that say what to do.

#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace net {

// Both return a descriptor that the caller closes.
//
// `address` is a numeric address or "localhost". kAlreadyExists names the process that has the
// port, kPermissionDenied and kInvalidArgument the remedy.
absl::StatusOr<int> ListenTcp(const std::string& address, int port, bool reuse_address);

// Replaces a socket file that nobody listens on any more; kAlreadyExists if somebody does. The file
// is accessible to its owner alone.
absl::StatusOr<int> ListenUnix(const std::string& path);

// The port a TCP listener got.
int PortOf(int listener);

}  // namespace net
