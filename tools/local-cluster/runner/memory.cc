#include "local-cluster/runner/memory.h"

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <unistd.h>

#include "absl/strings/str_format.h"

#include "common/base/files.h"

namespace local_cluster {

int64_t ProcessTable::MemoryOfTree(pid_t root) const {
  int64_t bytes = 0;
  for (const auto& [pid, entry] : entries_) {
    pid_t ancestor = pid;
    for (size_t steps = 0; ancestor > 1 && ancestor != root && steps < entries_.size(); ++steps) {
      const auto found = entries_.find(ancestor);
      ancestor = found == entries_.end() ? 0 : found->second.parent;
    }
    if (ancestor == root) bytes += entry.memory_bytes;
  }
  return bytes;
}

ProcessTable ReadProcessTable() {
  std::map<pid_t, ProcessTable::Entry> entries;
  const absl::StatusOr<std::vector<std::string>> names = base::ListDirectory("/proc");
  if (!names.ok()) return ProcessTable({});
  const int64_t page_bytes = sysconf(_SC_PAGESIZE);
  for (const std::string& name : *names) {
    const pid_t pid = atoi(name.c_str());
    if (pid <= 0) continue;
    const absl::StatusOr<std::string> text =
        base::ReadFile(absl::StrFormat("/proc/%d/stat", pid), 4096);
    if (!text.ok()) continue;
    // Fields are counted from the end of the name, which may hold anything: 4 is the parent, 24 the
    // resident pages.
    const size_t after_name = text->rfind(')');
    if (after_name == std::string::npos) continue;
    int parent = 0;
    long long pages = 0;
    if (sscanf(text->c_str() + after_name + 1,
               " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %*u "
               "%*u %lld",
               &parent, &pages) != 2) {
      continue;
    }
    entries[pid] = {.parent = parent, .memory_bytes = pages * page_bytes};
  }
  return ProcessTable(std::move(entries));
}

}  // namespace local_cluster
