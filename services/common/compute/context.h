// Where operations run: a device, and on the CPU a team of threads and an instruction set level.

#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"

#include "common/compute/device.h"
#include "common/compute/isa.h"
#include "common/compute/thread_team.h"

namespace compute {

namespace cpu {
struct Kernels;
}

struct ContextOptions {
  std::string device = "cpu";
  std::string isa;  // "" or "auto": the best that this CPU can run.
  int threads = 0;  // 0: as many as the cgroup's quota and the affinity mask give cores.
};

// Every operation takes one. Used by one thread at a time.
class Context {
 public:
  // kInvalidArgument for an isa or device that is not there.
  static absl::StatusOr<std::unique_ptr<Context>> Create(const ContextOptions& options);

  const Device& device() const { return device_; }
  Isa isa() const { return isa_; }
  ThreadTeam& team() const { return *team_; }
  const cpu::Kernels& kernels() const { return *kernels_; }

 private:
  Context() = default;

  Device device_;
  Isa isa_ = Isa::kPlain;
  std::unique_ptr<ThreadTeam> team_;
  const cpu::Kernels* kernels_ = nullptr;
};

}  // namespace compute
