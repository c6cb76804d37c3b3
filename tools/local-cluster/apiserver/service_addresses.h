// Cluster IPs of Services, out of 127.96.0.0/12.

#pragma once

#include <cstdint>
#include <set>
#include <string>

#include <boost/json/fwd.hpp>

#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"

#include "local-cluster/apiserver/storage/store.h"

namespace local_cluster {

// Every Service but an ExternalName has an address that no other has; it keeps it. Thread-safe.
class ServiceAddresses {
 public:
  explicit ServiceAddresses(const Store& store) : store_(store) {}

  // Fills in spec.clusterIP and clusterIPs; `old` is null on create. 422 for an address that is
  // taken or out of range.
  absl::Status Assign(boost::json::value& service, const boost::json::value* old);

  // The Service with this address is stored, or will never be.
  void Settle(const boost::json::value& service);

 private:
  std::set<uint32_t> Taken() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Store& store_;
  absl::Mutex mutex_;
  std::set<uint32_t> promised_ ABSL_GUARDED_BY(mutex_);  // Given out, perhaps not stored yet.
};

}  // namespace local_cluster
