#include "gpu-provisioner/write_queue.h"

#include <algorithm>

#include "absl/strings/str_format.h"

#include "common/base/log.h"
#include "common/base/thread.h"

namespace gpu_provisioner {
namespace {

std::string_view KindName(PoolJobKind kind) {
  static constexpr std::string_view kNames[] = {"put", "delete", "abort", "get", "machines"};
  return kNames[static_cast<size_t>(kind)];
}

bool IsWrite(PoolJobKind kind) {
  return kind == PoolJobKind::kPut || kind == PoolJobKind::kDelete || kind == PoolJobKind::kAbort;
}

}  // namespace

WriteQueue::WriteQueue(AgentPoolClient& client, WriteQueueOptions options, const base::Clock& clock,
                       std::function<void(const PoolResult&)> done,
                       std::function<void(const std::string&)> settled)
    : client_(client),
      options_(std::move(options)),
      clock_(clock),
      done_(std::move(done)),
      settled_(std::move(settled)) {}

WriteQueue::~WriteQueue() { Stop(); }

bool WriteQueue::Submit(PoolJob job) {
  absl::MutexLock lock(&mutex_);
  if (stopped_ || waiting_.size() >= options_.jobs_max) return false;
  if (!busy_.insert(Folded(job.pool)).second) return false;
  waiting_.push_back(std::move(job));
  return true;
}

bool WriteQueue::Busy(std::string_view pool) const {
  absl::MutexLock lock(&mutex_);
  return busy_.contains(Folded(pool));
}

bool WriteQueue::HasSlot(PoolJobKind kind) const {
  return kind == PoolJobKind::kPut ? puts_running_ < options_.puts_max
                                   : others_running_ < options_.others_max;
}

bool WriteQueue::CanTake() const {
  return stopped_ ||
         std::ranges::any_of(waiting_, [this](const PoolJob& job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(
                                           mutex_) { return HasSlot(job.kind); });
}

std::optional<PoolJob> WriteQueue::TakeLocked() {
  const auto next = std::ranges::find_if(
      waiting_, [this](const PoolJob& job)
                    ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return HasSlot(job.kind); });
  if (next == waiting_.end()) return std::nullopt;
  PoolJob job = std::move(*next);
  waiting_.erase(next);
  ++(job.kind == PoolJobKind::kPut ? puts_running_ : others_running_);
  return job;
}

bool WriteQueue::RunOne() {
  std::optional<PoolJob> job;
  {
    absl::MutexLock lock(&mutex_);
    job = TakeLocked();
  }
  if (!job) return false;
  Run(*std::move(job));
  return true;
}

void WriteQueue::Run(PoolJob job) {
  const PoolJobKind kind = job.kind;
  const std::string key = Folded(job.pool);
  const PoolResult result = Execute(job);
  done_(result);
  {
    absl::MutexLock lock(&mutex_);
    busy_.erase(key);
    --(kind == PoolJobKind::kPut ? puts_running_ : others_running_);
  }
  settled_(key);
}

PoolResult WriteQueue::Execute(const PoolJob& job) {
  PoolResult result{.job = job, .started = clock_.Monotonic(), .ended = clock_.Monotonic()};
  if (IsWrite(job.kind) && options_.may_write && !options_.may_write()) {
    result.failure = {.error_class = ErrorClass::kThrottled,
                      .message = "this process does not lead",
                      .retry_after = absl::Seconds(5)};
    return result;
  }
  PoolAnswer answer;
  switch (job.kind) {
    case PoolJobKind::kPut:
      answer = client_.Put(job.pool, job.body, job.etag, job.claim_uid);
      break;
    case PoolJobKind::kDelete:
      answer = client_.Delete(job.pool, job.etag, job.ignore_disruption_budget, job.claim_uid);
      break;
    case PoolJobKind::kAbort:
      answer = client_.Abort(job.pool, job.claim_uid);
      break;
    case PoolJobKind::kGet:
      answer = client_.Get(job.pool, job.claim_uid);
      break;
    case PoolJobKind::kMachines:
      result.machines = client_.Machines(job.pool, answer.failure);
      break;
  }
  result.status = answer.status;
  result.failure = std::move(answer.failure);
  result.pool = std::move(answer.pool);
  result.ended = clock_.Monotonic();
  base::LogInfo("agent pool call", {{"operation", KindName(job.kind)},
                                    {"pool", job.pool},
                                    {"status", result.status},
                                    {"class", ErrorClassName(result.failure.error_class)},
                                    {"code", result.failure.code},
                                    {"took", result.ended - result.started}});
  return result;
}

void WriteQueue::Start() {
  for (int i = 0; i < options_.puts_max + options_.others_max; ++i) {
    threads_.push_back(base::StartThread("arm-call", [this](const std::stop_token& stop) {
      while (!stop.stop_requested()) {
        std::optional<PoolJob> job;
        {
          absl::MutexLock lock(&mutex_);
          mutex_.Await(absl::Condition(this, &WriteQueue::CanTake));
          if (stopped_) return;
          job = TakeLocked();
        }
        if (job) Run(*std::move(job));
      }
    }));
  }
}

void WriteQueue::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stopped_ = true;
    waiting_.clear();
  }
  threads_.clear();
}

}  // namespace gpu_provisioner
