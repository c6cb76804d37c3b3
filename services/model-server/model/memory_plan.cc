#include "model-server/model/memory_plan.h"

#include <algorithm>
#include <cstdlib>
#include <limits>

#include "absl/strings/str_format.h"

#include "common/base/files.h"

namespace model_server {
namespace {

std::string MiB(uint64_t bytes) {
  return absl::StrFormat("%.1f MiB", static_cast<double>(bytes) / (1 << 20));
}

// A file that holds one number; `otherwise` for "max" or if there is none.
uint64_t ReadNumber(const std::string& path, uint64_t otherwise) {
  const auto text = base::ReadFile(path);
  if (!text.ok() || text->empty() || text->front() < '0' || text->front() > '9') return otherwise;
  return std::strtoull(text->c_str(), nullptr, 10);
}

uint64_t MachineAvailableBytes() {
  constexpr std::string_view kName = "MemAvailable:";
  const auto text = base::ReadFile("/proc/meminfo");
  if (!text.ok()) return std::numeric_limits<uint64_t>::max();
  const size_t at = text->find(kName);
  if (at == std::string::npos) return std::numeric_limits<uint64_t>::max();
  return std::strtoull(text->c_str() + at + kName.size(), nullptr, 10) * 1024;
}

}  // namespace

std::string MemoryPlan::ToString() const {
  return absl::StrFormat("weights %s, activations %s, workspace %s, %d bytes per KV block",
                         MiB(weight_bytes), MiB(activation_bytes), MiB(workspace_bytes),
                         kv_bytes_per_block);
}

uint64_t AvailableMemoryBytes() {
  constexpr uint64_t kNone = std::numeric_limits<uint64_t>::max();
  uint64_t available = MachineAvailableBytes();
  const auto consider = [&](const std::string& limit_path, const std::string& use_path) {
    const uint64_t limit = ReadNumber(limit_path, kNone);
    if (limit == kNone) return;
    const uint64_t used = ReadNumber(use_path, 0);
    available = std::min(available, limit > used ? limit - used : 0);
  };
  consider("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current");
  consider("/sys/fs/cgroup/memory/memory.limit_in_bytes",
           "/sys/fs/cgroup/memory/memory.usage_in_bytes");
  return available;
}

absl::Status CheckFits(const MemoryPlan& plan, uint64_t bytes_max) {
  const uint64_t needed = plan.fixed_bytes() + plan.kv_bytes_per_block;
  if (needed <= bytes_max) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrFormat(
      "the model does not fit: it needs %s, %s are there (%s); lower max_model_len, "
      "or give the process more memory",
      MiB(needed), MiB(bytes_max), plan.ToString()));
}

}  // namespace model_server
