// Which loopback address a Pod has.

#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"

namespace local_cluster {

// Gives each Pod name an address of 127.32.0.0/11 and remembers it in a file, so that a Pod keeps
// its address over its own restarts and ours. Names are never forgotten: 2 million fit.
//
// Thread-safe.
class PodAddresses {
 public:
  // `path`: the file. A file that cannot be read is an error, as addresses would change.
  explicit PodAddresses(std::string path) : path_(std::move(path)) {}
  absl::Status Load();

  // `name`: "namespace/pod".
  std::string Of(std::string_view name);

 private:
  const std::string path_;
  absl::Mutex mutex_;
  std::map<std::string, std::string, std::less<>> addresses_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> taken_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace local_cluster
