// Carries pod statuses to the API, so that the runner's loop never waits for a disk.

#pragma once

#include <map>
#include <memory>
#include <thread>
#include <vector>

#include <boost/json/fwd.hpp>

#include "absl/synchronization/mutex.h"

#include "common/kube/client.h"
#include "common/kube/work_queue.h"

namespace local_cluster {

// Writes the newest status of each Pod; older ones that still wait are dropped. Errors are retried
// with back-off; a Pod that is gone, or another of its name, ends the tries. Thread-safe.
class StatusWriter {
 public:
  // `client` is borrowed.
  explicit StatusWriter(kube::Client& client, int threads = 4);
  ~StatusWriter();  // Writes what waits, but retries nothing.

  void Put(const kube::Object& pod, boost::json::value status);
  // After the last status: deletes the object for good.
  void PutEnd(const kube::Object& pod);

 private:
  struct Pending;
  void Work();
  absl::Status Write(const kube::ObjectKey& key, const Pending& pending);

  kube::Client& client_;
  kube::WorkQueue queue_;
  absl::Mutex mutex_;
  std::map<kube::ObjectKey, std::unique_ptr<Pending>> pending_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::jthread> threads_;
};

}  // namespace local_cluster
