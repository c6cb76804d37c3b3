// Where a cloud's endpoints are.

#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"

#include "gpu-provisioner/arm/http_sender.h"

namespace gpu_provisioner {

struct CloudEndpoints {
  std::string authority;  // "https://login.microsoftonline.com/"
  std::string arm;        // "https://management.azure.com"
  std::string scope;      // "https://management.azure.com/.default"
};

// The endpoints of public, china, usgov, or of a custom cloud, which tells them itself at
// {arm}/metadata/endpoints. Thread-safe.
class Cloud {
 public:
  // kInvalidArgument for an unknown name, or custom without `arm_endpoint`. An `arm_endpoint` given
  // for a known cloud replaces its own.
  static absl::StatusOr<Cloud> Named(std::string_view name, const std::string& arm_endpoint);

  const std::string& arm() const { return endpoints_.arm; }
  bool custom() const { return custom_; }

  // Asks a custom cloud; the others answer at once. Blocks up to 20 s.
  absl::StatusOr<CloudEndpoints> Endpoints(const HttpSenderFactory& senders) const;

 private:
  CloudEndpoints endpoints_;
  bool custom_ = false;
};

}  // namespace gpu_provisioner
