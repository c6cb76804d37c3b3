// What this machine can give at most.

#pragma once

namespace bench {

struct Machine {
  int threads = 0;
  double read_bytes_per_second = 0;       // Streaming from memory, all threads.
  double int8_operations_per_second = 0;  // Multiplications and additions of the int8 dot product.
};

// `threads` 0: the cores that the cgroup's quota gives. The best of `repeats` short runs.
Machine MeasureMachine(int threads, int repeats);

}  // namespace bench
