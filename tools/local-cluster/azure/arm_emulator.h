// Azure, as far as gpu-provisioner sees it, on loopback: agent pools that take time, fail when told
// to, and become Nodes of the local cluster.

#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "common/base/clock.h"
#include "common/kube/client.h"
#include "common/net/http.h"

namespace local_cluster::azure {

struct ArmEmulatorOptions {
  int port = 0;  // 0: any free one, see port(). Always 127.0.0.1.

  // The one application that gets tokens, and the one cluster there is.
  std::string tenant_id = "00000000-0000-0000-0000-000000000002";
  std::string client_id = "00000000-0000-0000-0000-000000000003";
  std::string client_secret;
  std::string subscription_id = "00000000-0000-0000-0000-000000000001";
  std::string resource_group = "local";
  std::string cluster_name = "local";
  std::string location = "local";

  std::string gpu_types_dir;  // The sizes there are, besides the plain Standard_D family.
  std::string state_file;     // Pools survive a restart here. Empty: they do not.

  // How long Azure takes. Real: 120 s, 110 s, 5 s, 60 s.
  absl::Duration create_time = absl::Milliseconds(400);
  absl::Duration join_time = absl::Milliseconds(100);  // From the PUT to a Ready Node.
  absl::Duration device_time = absl::ZeroDuration();   // From Ready to the GPU resource.
  absl::Duration delete_time = absl::Milliseconds(200);

  int pools_max = 100;          // System pool included.
  int cores_per_family = 1000;  // Quota, until the control API says otherwise.
  int cores_per_region = 100000;
  uint64_t seed = 1;  // Of names and operation ids.
};

// ARM, the token endpoint, and `/_emulator/…`, by which tests inject faults and look inside
// (design/provisioner-faults.md section 1).
//
// Thread-safe.
class ArmEmulator {
 public:
  // Serves until destroyed. `nodes` and `clock` are borrowed. kAlreadyExists when the port is
  // taken.
  static absl::StatusOr<std::unique_ptr<ArmEmulator>> Start(
      const ArmEmulatorOptions& options, kube::Client& nodes,
      const base::Clock& clock = base::RealClock());

  // Without a port and without a thread: the caller hands requests to Handle() and calls RunDue()
  // after moving the clock.
  static absl::StatusOr<std::unique_ptr<ArmEmulator>> Open(const ArmEmulatorOptions& options,
                                                           kube::Client& nodes,
                                                           const base::Clock& clock);
  ~ArmEmulator();

  int port() const;
  std::string url() const;  // "http://127.0.0.1:PORT"

  // One request, answered at once. kUnavailable where a scripted fault cuts the connection.
  absl::StatusOr<net::Response> Handle(const net::Request& request);

  // Does what is due by the clock: operations end, Nodes join and go.
  void RunDue();

 private:
  struct Impl;
  explicit ArmEmulator(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace local_cluster::azure
