// How much memory a model takes and for what, known before any is taken.

#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace model_server {

struct MemoryPlan {
  uint64_t weight_bytes = 0;      // In the layout that the kernels read.
  uint64_t mapped_bytes = 0;      // Of the model file; the page cache may drop them again.
  uint64_t activation_bytes = 0;  // The largest step.
  uint64_t workspace_bytes = 0;   // Attention, rotary tables, bookkeeping of a step.
  uint64_t kv_bytes_per_block = 0;

  // All but the KV cache and the mapped file.
  uint64_t fixed_bytes() const { return weight_bytes + activation_bytes + workspace_bytes; }

  // "weights 103.1 MiB, activations 12.0 MiB, …"
  std::string ToString() const;
};

// What this process may still take: the cgroup's limit less its use, or the machine's free memory.
uint64_t AvailableMemoryBytes();

// kResourceExhausted, with the plan, if it and one KV block are more than `bytes_max`.
absl::Status CheckFits(const MemoryPlan& plan, uint64_t bytes_max);

}  // namespace model_server
