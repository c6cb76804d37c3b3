#include "common/compute/thread_team.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>

#include <immintrin.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "absl/strings/str_format.h"

#include "common/base/check.h"
#include "common/base/files.h"
#include "common/base/thread.h"

namespace compute {
namespace {

constexpr int kFieldBits = 20;
constexpr uint64_t kFieldMask = (1ULL << kFieldBits) - 1;
constexpr uint32_t kEpochMask = (1U << 24) - 1;

// About 50 µs: longer than the gaps between the operations of a step, shorter than a time slice.
constexpr int kSpins = 1500;

constexpr uint64_t MakeRange(uint32_t epoch, int first, int end) {
  return (static_cast<uint64_t>(epoch) << (2 * kFieldBits)) |
         (static_cast<uint64_t>(first) << kFieldBits) | static_cast<uint64_t>(end);
}

uint32_t* Address(std::atomic<uint32_t>& word) { return reinterpret_cast<uint32_t*>(&word); }

void FutexWait(std::atomic<uint32_t>& word, uint32_t expected) {
  syscall(SYS_futex, Address(word), FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
}

void FutexWakeAll(std::atomic<uint32_t>& word) {
  syscall(SYS_futex, Address(word), FUTEX_WAKE_PRIVATE, 1 << 30, nullptr, nullptr, 0);
}

// Cores per period that the cgroup's quota gives; 0 if there is none.
double CgroupCores() {
  double quota = 0;
  double period = 0;
  const auto v2 = base::ReadFile("/sys/fs/cgroup/cpu.max");
  if (v2.ok() && std::sscanf(v2->c_str(), "%lf %lf", &quota, &period) == 2 && period > 0) {
    return quota / period;
  }
  const auto v1 = base::ReadFile("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
  const auto v1_period = base::ReadFile("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  if (!v1.ok() || !v1_period.ok()) return 0;
  quota = std::atof(v1->c_str());
  period = std::atof(v1_period->c_str());
  return quota > 0 && period > 0 ? quota / period : 0;
}

}  // namespace

int UsableCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  int cores = 1;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) cores = std::max(1, CPU_COUNT(&set));
  const double quota = CgroupCores();
  if (quota > 0) cores = std::min(cores, std::max(1, static_cast<int>(std::ceil(quota))));
  return cores;
}

ThreadTeam::ThreadTeam(int members) : ranges_(std::max(1, members)) {
  for (int member = 1; member < this->members(); ++member) {
    workers_.push_back(base::StartThread(absl::StrFormat("compute-%d", member),
                                         [this, member](std::stop_token) { WorkerLoop(member); }));
  }
}

ThreadTeam::~ThreadTeam() {
  stopping_ = true;
  epoch_.fetch_add(1);
  FutexWakeAll(epoch_);
}

void ThreadTeam::RunErased(int chunks, const void* body, Function function) {
  CHECK(chunks <= kChunksMax);
  // Every chunk of the call before is done, so nobody reads these two now.
  body_ = body;
  function_ = function;
  chunks_done_.store(0, std::memory_order_relaxed);
  const uint32_t next = epoch_.load(std::memory_order_relaxed) + 1;
  const int count = members();
  for (int i = 0; i < count; ++i) {
    const auto bound = [&](int member) {
      return static_cast<int>(static_cast<int64_t>(chunks) * member / count);
    };
    ranges_[i].word.store(MakeRange(next & kEpochMask, bound(i), bound(i + 1)),
                          std::memory_order_release);
  }
  epoch_.store(next);  // Sequentially consistent with sleepers_: either we see it, or it sees us.
  if (sleepers_.load() > 0) FutexWakeAll(epoch_);

  Work(0, next & kEpochMask);
  for (int spins = 0; chunks_done_.load(std::memory_order_acquire) < chunks; ++spins) {
    if (spins < kSpins) {
      _mm_pause();
    } else {
      sched_yield();  // A worker holds a chunk but not a core.
    }
  }
}

void ThreadTeam::Work(int member, uint32_t epoch) {
  const int count = members();
  for (int i = 0; i < count; ++i) {
    std::atomic<uint64_t>& word = ranges_[(member + i) % count].word;
    uint64_t range = word.load(std::memory_order_acquire);
    while ((range >> (2 * kFieldBits)) == epoch) {
      const auto first = static_cast<int>((range >> kFieldBits) & kFieldMask);
      if (first >= static_cast<int>(range & kFieldMask)) break;
      if (!word.compare_exchange_weak(range, range + (1ULL << kFieldBits),
                                      std::memory_order_acq_rel)) {
        continue;
      }
      function_(body_, member, first);
      chunks_done_.fetch_add(1, std::memory_order_release);
      range = word.load(std::memory_order_acquire);
    }
  }
}

uint32_t ThreadTeam::WaitForEpochAfter(uint32_t seen) {
  for (int i = 0; i < kSpins; ++i) {
    const uint32_t epoch = epoch_.load(std::memory_order_acquire);
    if (epoch != seen) return epoch;
    _mm_pause();
  }
  sleepers_.fetch_add(1);
  while (epoch_.load() == seen) FutexWait(epoch_, seen);
  sleepers_.fetch_sub(1);
  return epoch_.load();
}

void ThreadTeam::WorkerLoop(int member) {
  uint32_t seen = 0;
  while (true) {
    seen = WaitForEpochAfter(seen);
    if (stopping_.load()) return;
    Work(member, seen & kEpochMask);
  }
}

}  // namespace compute
