// The provisioner, the ARM emulator and a small API in one process, on a clock that the test
// moves.

#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/fwd.hpp>

#include "absl/time/time.h"

#include "common/base/clock.h"
#include "common/kube/client.h"
#include "gpu-provisioner/provisioner.h"
#include "local-cluster/azure/arm_emulator.h"
#include "testing/provisioner/object_api.h"

namespace provisioner_testing {

// No threads of the provisioner or the emulator run: Run() steps them, second by second, until
// nothing changes any more within a second.
class Rig {
 public:
  Rig();
  ~Rig();

  // A claim as KAITO writes it. `sizes` as in "A" or "A, B" stand for the two test sizes.
  void CreateClaim(const std::string& name, const std::string& sizes = "A",
                   const std::string& extra_yaml = "");
  void DeleteClaim(const std::string& name);

  void Run(absl::Duration time);
  // Runs until `name` is Ready, at most `limit`; true if it is.
  bool RunUntilReady(const std::string& name, absl::Duration limit = absl::Minutes(10));
  // Kills the provisioner and starts another, which knows nothing.
  void Restart();

  // POST /_emulator/`path`, JSON as YAML.
  void Control(const std::string& path, const std::string& yaml);

  bool HasClaim(const std::string& name);
  kube::Object Claim(const std::string& name);
  // "True/Launched", "False/QuotaExceeded".
  std::string Condition(const std::string& claim, const std::string& type);
  std::string Message(const std::string& claim, const std::string& type);
  // Every value that Launched has had, in order.
  const std::vector<std::string>& LaunchedHistory(const std::string& claim) {
    return launched_history_[claim];
  }
  std::vector<kube::Object> Nodes();
  bool PoolExists(const std::string& name);

  // From the emulator's log, the refused ones too.
  std::vector<boost::json::object> Requests(const std::string& method, const std::string& pool);
  int Count(const std::string& method, const std::string& pool);
  boost::json::array History();

  // I1, I4 and the log: at most one live pool per claim, a minute between two PUTs.
  void CheckInvariants();

  kube::Client& kube() { return *kube_; }
  gpu_provisioner::Provisioner& provisioner() { return *provisioner_; }
  base::ManualClock& clock() { return clock_; }
  absl::Duration since_start() const { return clock_.Monotonic(); }

 private:
  void Settle();
  bool Notice();
  void ReconcileDue();
  boost::json::value Get(const std::string& path);

  base::ManualClock clock_;
  std::string folder_;
  std::unique_ptr<ObjectApi> api_;
  std::unique_ptr<kube::Client> kube_;
  std::unique_ptr<local_cluster::azure::ArmEmulator> arm_;
  catalog::GpuTypes types_;
  std::unique_ptr<gpu_provisioner::HttpSender> sender_;
  std::unique_ptr<gpu_provisioner::TokenCache> tokens_;
  std::unique_ptr<gpu_provisioner::ClusterView> view_;
  std::unique_ptr<gpu_provisioner::Provisioner> provisioner_;

  std::set<std::string> pending_;
  std::map<std::string, absl::Duration> due_;
  std::map<std::string, std::string> seen_;  // Object → resource version.
  std::map<std::string, std::vector<std::string>> launched_history_;
};

inline constexpr char kSizeA[] = "Standard_NC24ads_A100_v4";
inline constexpr char kSizeB[] = "Standard_NC40ads_H100_v5";

}  // namespace provisioner_testing
