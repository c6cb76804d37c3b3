#include "bench/model/machine.h"

#include <algorithm>
#include <atomic>
#include <cstdint>

#include <immintrin.h>

#include "absl/time/clock.h"

#include "common/compute/buffer.h"
#include "common/compute/isa.h"
#include "common/compute/thread_team.h"

namespace bench {
namespace {

constexpr size_t kBytes = 256 << 20;  // Well beyond the caches.
constexpr int kReadChunks = 128;
constexpr int64_t kDotRounds = 4'000'000;

std::atomic<int64_t> sink;  // So that nothing is optimised away.

int64_t ReadAll(const std::byte* data, size_t bytes) {
  int64_t sum[8] = {};
  const auto* const words = reinterpret_cast<const int64_t*>(data);
  for (size_t i = 0; i < bytes / 8; i += 8) {
    __builtin_prefetch(words + i + 512);
    for (int j = 0; j < 8; ++j) sum[j] += words[i + j];
  }
  return sum[0] + sum[1] + sum[2] + sum[3] + sum[4] + sum[5] + sum[6] + sum[7];
}

// Independent dot products in registers: 12 chains hide the latency.
__attribute__((target("avx512f,avx512vnni"))) int64_t DotVnni() {
  __m512i sums[12];
  for (auto& sum : sums) sum = _mm512_set1_epi32(1);
  __m512i a = _mm512_set1_epi8(3);
  const __m512i b = _mm512_set1_epi8(2);
  for (int64_t i = 0; i < kDotRounds / 12; ++i) {
    asm volatile("" : "+v"(a));  // Keeps the loop a loop.
#pragma GCC unroll 12
    for (auto& sum : sums) sum = _mm512_dpbusd_epi32(sum, a, b);
  }
  __m512i total = sums[0];
  for (int i = 1; i < 12; ++i) total = _mm512_add_epi32(total, sums[i]);
  alignas(64) int32_t lanes[16];
  _mm512_store_si512(lanes, total);
  return lanes[0];
}

double Seconds(absl::Time start) { return absl::ToDoubleSeconds(absl::Now() - start); }

double MeasureRead(compute::ThreadTeam& team, int repeats) {
  const auto buffer = compute::Buffer::Allocate(kBytes);
  if (!buffer.ok()) return 0;
  constexpr size_t kChunk = kBytes / kReadChunks;
  team.Run(kReadChunks,
           [&](int, int i) { std::fill_n(buffer->as<int64_t>(i * kChunk), kChunk / 8, i); });
  double best = 1e30;
  for (int i = 0; i < 3 * repeats; ++i) {
    const absl::Time start = absl::Now();
    team.Run(kReadChunks,
             [&](int, int c) { sink += ReadAll(buffer->data() + c * kChunk, kChunk); });
    best = std::min(best, Seconds(start));
  }
  return kBytes / best;
}

double MeasureInt8(compute::ThreadTeam& team, int repeats) {
  if (compute::AvailableIsas().back() != compute::Isa::kAvx512Vnni) return 0;
  double best = 1e30;
  for (int i = 0; i < 3 * repeats; ++i) {
    const absl::Time start = absl::Now();
    team.Run(team.members(), [&](int, int) { sink += DotVnni(); });
    best = std::min(best, Seconds(start));
  }
  return 128.0 * kDotRounds * team.members() / best;
}

}  // namespace

Machine MeasureMachine(int threads, int repeats) {
  compute::ThreadTeam team(threads > 0 ? threads : compute::UsableCores());
  return {.threads = team.members(),
          .read_bytes_per_second = MeasureRead(team, repeats),
          .int8_operations_per_second = MeasureInt8(team, repeats)};
}

}  // namespace bench
