// How much memory process trees use.

#pragma once

#include <cstdint>
#include <map>
#include <utility>

#include <sys/types.h>

namespace local_cluster {

// A moment's picture of /proc.
class ProcessTable {
 public:
  struct Entry {
    pid_t parent = 0;
    int64_t memory_bytes = 0;  // Resident.
  };
  explicit ProcessTable(std::map<pid_t, Entry> entries) : entries_(std::move(entries)) {}

  // Of `root` and all its descendants.
  int64_t MemoryOfTree(pid_t root) const;

 private:
  std::map<pid_t, Entry> entries_;
};

ProcessTable ReadProcessTable();

}  // namespace local_cluster
