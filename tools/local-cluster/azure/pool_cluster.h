// The agent pools of the one cluster: what they are, what becomes of them over time.

#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/fwd.hpp>

#include "absl/time/time.h"

#include "common/base/clock.h"
#include "common/net/http.h"
#include "local-cluster/azure/arm_emulator.h"
#include "local-cluster/azure/compute.h"
#include "local-cluster/azure/fault_rules.h"
#include "local-cluster/azure/node_writer.h"

namespace local_cluster::azure {

// Not thread-safe: the emulator's mutex guards it. Time is what RunDue() is told by the clock.
class PoolCluster {
 public:
  // Borrows all but `options`.
  PoolCluster(const ArmEmulatorOptions& options, Compute& compute, NodeWriter& nodes,
              const base::Clock& clock);
  ~PoolCluster();

  // The base URL that links in answers begin with.
  void SetUrl(std::string url) { url_ = std::move(url); }

  // ARM's operations. `base` is the path of the cluster as the caller spelled it.
  net::Response Put(const std::string& base, const std::string& name, const net::Request& request,
                    const std::optional<Outcome>& outcome);
  net::Response Get(const std::string& base, const std::string& name) const;
  net::Response List(const std::string& base, std::string_view query,
                     const std::optional<FaultAct>& fault) const;
  net::Response Delete(const std::string& name, const net::Request& request,
                       const std::optional<Outcome>& outcome);
  net::Response Abort(const std::string& name);
  net::Response Machines(const std::string& base, const std::string& name) const;
  // Of an operation URL, which must come back byte for byte.
  net::Response Operation(const net::Request& request, bool result_only) const;

  // Other hands (design/provisioner-faults.md section 1).
  net::Response ControlPool(const std::string& name, const boost::json::value& body);
  net::Response ControlNode(const std::string& name, std::string_view what);
  void HoldCluster(bool hold) { held_ = hold; }
  void SetMissing(bool missing) { missing_ = missing; }
  bool missing() const { return missing_; }
  boost::json::value History() const;

  // Does what is due. When the next thing is; infinite if nothing waits.
  void RunDue();
  absl::Duration NextDue() const;

  // Pools as text, to survive a restart.
  std::string Save() const;
  void Restore(std::string_view text);
  // Grows with each change worth saving.
  uint64_t changes() const { return changes_; }

 private:
  struct Pool;
  struct RunningOperation;
  struct Life;

  Pool* Find(std::string_view name);
  const Pool* Find(std::string_view name) const;
  std::optional<net::Response> CheckBody(const std::string& name, const boost::json::value& body,
                                         bool exists) const;
  net::Response CreatePool(const std::string& base, const std::string& name,
                           const boost::json::value& body, const std::optional<Outcome>& outcome);
  net::Response ChangePool(const std::string& base, Pool& pool, const boost::json::value& body);
  void FinishCreate(const std::string& key, uint64_t generation,
                    const std::optional<Outcome>& outcome);
  void FinishDelete(const std::string& key, uint64_t generation,
                    const std::optional<Outcome>& outcome);
  void Join(Pool& pool, int index);
  void RemoveNodes(Pool& pool);
  void Erase(const std::string& key);
  void SetState(Pool& pool, std::string state);
  void SetError(Pool& pool, std::string_view code, std::string_view message);
  void After(absl::Duration wait, std::function<void()> task);
  std::string StartOperation(Pool& pool);
  void EndOperation(const Pool& pool);
  boost::json::value PoolJson(const std::string& base, const Pool& pool) const;
  std::string Digits(int count);

  const ArmEmulatorOptions options_;
  Compute& compute_;
  NodeWriter& nodes_;
  const base::Clock& clock_;
  std::string url_;
  std::mt19937_64 random_;

  std::map<std::string, std::unique_ptr<Pool>> pools_;  // By lower case.
  std::map<std::string, RunningOperation> operations_;  // By id.
  std::deque<std::string> operation_order_;
  std::vector<Life> history_;
  std::multimap<absl::Duration, std::function<void()>> due_;
  std::map<std::string, std::set<std::string>> node_faults_;  // By pool: never_join, no_gpu.
  bool held_ = false;
  bool missing_ = false;
  uint64_t generation_ = 0;
  uint64_t changes_ = 0;
};

}  // namespace local_cluster::azure
