// Load and memory of this host, in the JSON that the first servers answered at /metrics.

#pragma once

#include <cstdint>
#include <string>

#include "absl/synchronization/mutex.h"

namespace model_server::gateway {

// Thread-safe.
class HostFacts {
 public:
  HostFacts();

  // {"gpu_info":null,"cpu_info":{…}}. The load is that since the last call.
  std::string Json();

 private:
  struct CpuTime {
    uint64_t busy = 0;
    uint64_t total = 0;
  };
  static CpuTime ReadCpuTime();

  absl::Mutex mutex_;
  CpuTime last_ ABSL_GUARDED_BY(mutex_);
  double load_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace model_server::gateway
