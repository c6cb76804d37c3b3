#include "local-cluster/runner/addresses.h"

#include <cstdint>
#include <fstream>

#include "absl/strings/str_format.h"

#include "common/base/files.h"
#include "common/base/log.h"

namespace local_cluster {
namespace {

constexpr uint32_t kHostBits = 21;  // 127.32.0.0/11
constexpr uint32_t kNetwork = (127U << 24) | (32U << 16);

// FNV-1a.
uint32_t Hash(std::string_view name) {
  uint32_t hash = 2166136261U;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
  return hash ^ (hash >> kHostBits);
}

std::string AddressText(uint32_t host) {
  const uint32_t address = kNetwork | (host & ((1U << kHostBits) - 1));
  return absl::StrFormat("%d.%d.%d.%d", address >> 24, (address >> 16) & 255, (address >> 8) & 255,
                         address & 255);
}

}  // namespace

absl::Status PodAddresses::Load() {
  absl::MutexLock lock(&mutex_);
  if (!base::FileExists(path_)) return absl::OkStatus();
  const absl::StatusOr<std::string> content = base::ReadFile(path_, 256 << 20);
  if (!content.ok()) return content.status();
  // Lines "address name"; a last line that was cut short is of a Pod that never started.
  for (size_t begin = 0; begin < content->size();) {
    const size_t end = content->find('\n', begin);
    if (end == std::string::npos) break;
    const std::string line = content->substr(begin, end - begin);
    begin = end + 1;
    const size_t blank = line.find(' ');
    if (blank == std::string::npos) continue;
    addresses_[line.substr(blank + 1)] = line.substr(0, blank);
    taken_.insert(line.substr(0, blank));
  }
  return absl::OkStatus();
}

std::string PodAddresses::Of(std::string_view name) {
  absl::MutexLock lock(&mutex_);
  if (const auto found = addresses_.find(name); found != addresses_.end()) return found->second;
  // With the cluster's folder: clusters that stand side by side do not meet on an address.
  uint32_t host = Hash(absl::StrFormat("%s/%s", path_, name));
  std::string address = AddressText(host);
  // .0.0 and .255 look like networks and broadcasts to some programs.
  while (taken_.contains(address) || address.ends_with(".0") || address.ends_with(".255")) {
    address = AddressText(++host);
  }
  taken_.insert(address);
  addresses_.emplace(name, address);
  std::ofstream out(path_, std::ios::app | std::ios::binary);
  out << address << ' ' << name << '\n';
  out.close();
  if (!out) base::LogWarning("pod address not saved", {{"path", path_}, {"pod", name}});
  return address;
}

}  // namespace local_cluster
