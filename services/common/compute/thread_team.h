// The threads that compute a step together.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

namespace compute {

// How many threads this process may really run at once: the cores of its affinity mask, or less
// where a cgroup quota says so. At least 1.
int UsableCores();

// Splits work into numbered chunks that the calling thread and its workers claim one by one.
//
// Each member has its own range of chunks, so that it walks through memory in one direction, and
// takes from the others' ranges when its own is empty. A member that the system has put aside
// delays the chunk it holds and no other: nobody waits for a worker that has not claimed anything.
//
// Workers spin for a short while between two calls, then sleep. Run() from one thread only.
class ThreadTeam {
 public:
  // `members` counts the caller; 1 starts no thread.
  explicit ThreadTeam(int members);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int members() const { return static_cast<int>(ranges_.size()); }

  // Calls body(member, chunk) once for every chunk in [0, chunks) and returns when all are done.
  // Members are [0, members()), and no two calls have the same member at the same time. At most
  // kChunksMax.
  template <typename Body>
  void Run(int chunks, const Body& body) {
    if (chunks <= 1 || members() == 1) {
      for (int i = 0; i < chunks; ++i) body(0, i);
      return;
    }
    RunErased(chunks, &body, [](const void* erased, int member, int chunk) {
      (*static_cast<const Body*>(erased))(member, chunk);
    });
  }

  static constexpr int kChunksMax = (1 << 20) - 1;

 private:
  using Function = void (*)(const void* body, int member, int chunk);

  // The chunks of one member that nobody has claimed: epoch, first, end in one word, so that a
  // worker that wakes up late cannot claim from a call that it does not know.
  struct alignas(64) Range {
    std::atomic<uint64_t> word{0};
  };

  void RunErased(int chunks, const void* body, Function function);
  // Runs chunks of call `epoch` until none is left.
  void Work(int member, uint32_t epoch);
  void WorkerLoop(int member);
  uint32_t WaitForEpochAfter(uint32_t seen);

  std::vector<Range> ranges_;
  const void* body_ = nullptr;  // Valid while a chunk of the current call is not done.
  Function function_ = nullptr;
  alignas(64) std::atomic<uint32_t> epoch_{0};
  std::atomic<int> sleepers_{0};
  std::atomic<bool> stopping_{false};
  alignas(64) std::atomic<int> chunks_done_{0};
  std::vector<std::jthread> workers_;
};

}  // namespace compute
