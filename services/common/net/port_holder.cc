#include "common/net/port_holder.h"

#include <cstdlib>
#include <fstream>
#include <optional>
#include <set>
#include <sstream>

#include <unistd.h>

#include "absl/strings/str_format.h"

#include "common/base/files.h"

namespace net {
namespace {

constexpr std::string_view kListen = "0A";  // State in /proc/net/tcp.

// Inodes of sockets that listen on `port`.
void CollectListeners(const std::string& table, int port, std::set<std::string>* inodes) {
  std::ifstream file(table);
  std::string line;
  std::getline(file, line);  // The headings.
  while (std::getline(file, line)) {
    std::istringstream fields(line);
    std::string slot, local, remote, state, queues, timer, retransmits, user, timeout, inode;
    fields >> slot >> local >> remote >> state >> queues >> timer >> retransmits >> user >>
        timeout >> inode;
    const size_t colon = local.rfind(':');
    if (state != kListen || colon == std::string::npos) continue;
    if (std::strtol(local.c_str() + colon + 1, nullptr, 16) == port) inodes->insert(inode);
  }
}

bool HoldsOneOf(const std::string& process, const std::set<std::string>& inodes) {
  const std::string folder = "/proc/" + process + "/fd";
  const auto names = base::ListDirectory(folder);
  if (!names.ok()) return false;
  for (const std::string& name : *names) {
    char target[64];
    const ssize_t size = readlink((folder + "/" + name).c_str(), target, sizeof(target));
    const std::string_view link(target, size > 0 ? static_cast<size_t>(size) : 0);
    if (!link.starts_with("socket:[") || !link.ends_with("]")) continue;
    if (inodes.contains(std::string(link.substr(8, link.size() - 9)))) return true;
  }
  return false;
}

}  // namespace

std::string DescribePortHolder(int port) {
  std::set<std::string> inodes;
  CollectListeners("/proc/net/tcp", port, &inodes);
  CollectListeners("/proc/net/tcp6", port, &inodes);
  const auto processes = base::ListDirectory("/proc");
  if (inodes.empty() || !processes.ok()) return "another process";
  for (const std::string& process : *processes) {
    if (process.find_first_not_of("0123456789") != std::string::npos) continue;
    if (!HoldsOneOf(process, inodes)) continue;
    std::ifstream comm("/proc/" + process + "/comm");
    std::string name;
    std::getline(comm, name);
    return absl::StrFormat("%s (pid %s)", name.empty() ? "a process" : name, process);
  }
  return "another process";
}

}  // namespace net
