// The wire under the ARM client: replaceable, so that tests answer without sockets.

#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "common/net/http.h"

namespace gpu_provisioner {

// Thread-safe.
class HttpSender {
 public:
  virtual ~HttpSender() = default;
  // A response of any status is no error; kUnavailable or kDeadlineExceeded when none came.
  virtual absl::StatusOr<net::Response> Send(const net::Request& request,
                                             absl::Duration timeout) = 0;
};

// A sender for one base URL. kInvalidArgument for plain http to anything but this machine and IMDS.
using HttpSenderFactory =
    std::function<absl::StatusOr<std::unique_ptr<HttpSender>>(const std::string& base_url)>;

// Real connections: TLS is always verified; `ca_pem` empty: the system's authorities.
HttpSenderFactory MakeHttpSenderFactory(std::string ca_pem);

}  // namespace gpu_provisioner
